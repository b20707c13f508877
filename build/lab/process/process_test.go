package process

import (
	"context"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

func TestLife(t *testing.T) {
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Skip("no sleep:", err)
	}
	id, err := Of(cmd.Process.Pid, "sleeper")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "run", "sleeper.json")
	if err := id.Save(path); err != nil {
		t.Fatal(err)
	}
	got, err := Load(path)
	if err != nil || got != id {
		t.Fatalf("Load(%s) = %v, %v; want %v", path, got, err, id)
	}
	if !got.Alive() {
		t.Error("Alive() = false for a running process")
	}
	other := got
	other.Start++ // the same PID, given to another process later
	if other.Alive() {
		t.Error("Alive() = true for a reused PID")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := other.Kill(ctx); err != nil || !got.Alive() {
		t.Errorf("Kill of a reused PID: %v, alive %v; want nil, true", err, got.Alive())
	}
	// Not waited for yet, so the process becomes a zombie: ended all the same.
	if err := got.Kill(ctx); err != nil {
		t.Error(err)
	}
	if got.Alive() {
		t.Error("Alive() = true after Kill")
	}
	_ = cmd.Wait()
}

func TestLoadNone(t *testing.T) {
	id, err := Load(filepath.Join(t.TempDir(), "none.json"))
	if err != nil || id.Alive() {
		t.Errorf("Load of no file = %v, %v; want a dead ID", id, err)
	}
	if err := id.Signal(9); err != nil {
		t.Errorf("Signal(zero) = %v; want nil", err)
	}
}
