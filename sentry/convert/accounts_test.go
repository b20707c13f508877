package convert

import "testing"

func TestMergeAccounts(t *testing.T) {
	for _, c := range []struct{ name, base, image, ours, want string }{
		{"nothing new", "a:1\n", "a:1\n", "a:9\nb:2", "a:9\nb:2"},
		{"new of the image", "a:1\n", "a:1\nn:3\n", "a:9\nb:2", "a:9\nb:2\nn:3\n"},
		{"changed by the image", "a:1\nb:1\n", "a:2\nb:2\n", "a:1\nb:9\n", "a:2\nb:9\n"},
		{"removed here", "a:1\ng:1\n", "a:1\ng:1\n", "a:1\n", "a:1\n"},
		{"gone from the image", "a:1\ng:1\n", "a:1\n", "a:1\ng:1\n", "a:1\ng:1\n"},
		{"base not known", "", "a:1\nn:3\n", "a:9\n", "a:9\nn:3\n"},
		{"twice in the image", "", "n:3\nn:4\n\n", "", "n:3\n"},
	} {
		if got := string(MergeAccounts([]byte(c.base), []byte(c.image), []byte(c.ours))); got != c.want {
			t.Errorf("%s: %q; want %q", c.name, got, c.want)
		}
	}
}
