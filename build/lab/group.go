package lab

import "syscall"

// ownGroup makes a started program the leader of a process group, so that what it starts ends with it. (No Pdeathsig: the thread
// that starts it is thrown away.)
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}

func killGroup(pid int) { _ = syscall.Kill(-pid, syscall.SIGKILL) } // gone already: fine
