package lab

import (
	"slices"
	"testing"
)

func TestModulesInOrder(t *testing.T) {
	const dep = `kernel/fs/nfs/nfsv3.ko: kernel/fs/nfs/nfs.ko kernel/fs/lockd/lockd.ko kernel/net/sunrpc/sunrpc.ko
kernel/fs/nfs/nfsv4.ko: kernel/net/dns_resolver/dns_resolver.ko kernel/fs/nfs/nfs.ko kernel/net/sunrpc/sunrpc.ko
kernel/net/sunrpc/sunrpc.ko:
`
	got, err := inOrder(dep, "6.12", []string{"nfsv3", "nfsv4"})
	want := []string{
		"6.12/kernel/net/sunrpc/sunrpc.ko", "6.12/kernel/fs/lockd/lockd.ko", "6.12/kernel/fs/nfs/nfs.ko", "6.12/kernel/fs/nfs/nfsv3.ko",
		"6.12/kernel/net/dns_resolver/dns_resolver.ko", "6.12/kernel/fs/nfs/nfsv4.ko",
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("inOrder = %q, %v; want %q", got, err, want)
	}
	if _, err := inOrder(dep, "6.12", []string{"nfsd"}); err == nil {
		t.Error("a module that is not there gives no error")
	}
}
