package verify

import "testing"

func TestPortBase(t *testing.T) {
	at := Target{PortBase: 20000, Params: map[string]string{"port": "389", "kdc_port": "88", "user": "25"}}
	for _, tc := range []struct{ key, or, want string }{
		{"port", "", "20389"}, {"kdc_port", "", "20088"}, {"user", "", "25"}, {"admin_port", "749", "20749"}, {"other_port", "", ""},
	} {
		if got := at.Param(tc.key, tc.or); got != tc.want {
			t.Errorf("Param(%q, %q) = %q; want %q", tc.key, tc.or, got, tc.want)
		}
	}
	if got := (Target{}).Param("port", "443"); got != "443" {
		t.Errorf("Param of a service at its own address = %q; want 443", got)
	}
}
