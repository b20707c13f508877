package stick

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sayasystems.com/atlas/build/lab/folder"
	"sayasystems.com/atlas/image/install"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestEncode(t *testing.T) {
	disks := map[int]folder.Disk{2: {Serial: "LAB-L2"}, 1: {Serial: "LAB-L1"}}
	const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ lab"
	tests := []struct {
		name  string
		order Order
	}{
		{"first", Order{Server: folder.Server{Name: "left", Address: "10.7.0.11"}, First: true, SystemDisk: "LAB-LSYS", Disks: disks, Password: "lab-secret", SSHKey: key}},
		{"second", Order{Server: folder.Server{Name: "right", Address: "10.7.0.12"}, SystemDisk: "LAB-RSYS", Disks: disks, Password: "lab-secret", SSHKey: key, Erase: true}},
		{"third", Order{Server: folder.Server{Name: "middle", Address: "10.7.0.13"}, SystemDisk: "LAB-MSYS", Code: "AAAAA-BBBBB", Peer: "10.7.0.11"}},
		{"namespace", Order{Server: folder.Server{Name: "left", Address: "10.7.0.11"}, First: true, Disks: disks, Password: "lab-secret", SSHKey: key}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			answers := Answers(tt.order)
			got, err := Encode(answers)
			if err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", tt.name+".yaml")
			if *update {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("install.yaml (-want +got):\n%s", diff)
			}
			// What the installer makes of it is what was meant.
			back, _, err := install.ParseAnswers(golden, got)
			if err != nil {
				t.Fatalf("the installer refuses it: %v", err)
			}
			if diff := cmp.Diff(answers, back); diff != "" {
				t.Errorf("read back (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNamespaceStick(t *testing.T) {
	ctx := context.Background()
	f, err := folder.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s := Stick{Folder: f, Kind: folder.Namespace}
	if err := s.Make(ctx, ""); err != nil {
		t.Fatal(err)
	}
	if err := s.Write(ctx, "install.yaml", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Read(ctx, "install.yaml"); err != nil || string(got) != "x" {
		t.Errorf("Read = %q, %v; want x", got, err)
	}
	for range 2 { // the second time it is not there
		if err := s.Remove(ctx, "install.yaml"); err != nil {
			t.Error(err)
		}
	}
}
