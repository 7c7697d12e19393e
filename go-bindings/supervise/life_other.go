//go:build !linux

package supervise

import "syscall"

// diesWithUs: nothing here ends the child when the pool is killed; it then finds no pool, sends its
// miners away after [pool].lost_ms, and has to be ended by hand.
func diesWithUs() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
