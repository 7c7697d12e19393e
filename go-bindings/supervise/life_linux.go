package supervise

import "syscall"

// diesWithUs lets the system end the child when the pool is killed.
func diesWithUs() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true}
}
