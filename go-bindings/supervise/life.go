// One life of the child.

package supervise

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// lastWords is how long the rest of the log may take after the child ended.
const lastWords = time.Second

// live starts the sidecar and waits until it ends. When ctx ends it asks it to stop, and kills it when that
// takes longer than StopGrace. The error is why it ended, nil for exit code 0 on our wish.
func (o Options) live(ctx context.Context) error {
	// The command's own context must not kill it at once: Cancel asks, WaitDelay bounds.
	command := exec.CommandContext(ctx, o.Program, "serve", "--config", o.Config)
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	command.WaitDelay = o.StopGrace
	command.SysProcAttr = diesWithUs()
	read, write, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("a pipe for the log: %w", err)
	}
	command.Stdout, command.Stderr = write, write
	relayed := make(chan struct{})
	go func() {
		defer close(relayed)
		o.relay(read)
	}()
	err = o.startAndWait(command, write)
	select {
	case <-relayed:
	case <-time.After(lastWords):
		// A grandchild holds the pipe open. The sidecar has none, but who knows what Program is.
	}
	_ = read.Close()
	<-relayed
	switch {
	case err == nil && ctx.Err() == nil:
		return errors.New("exit code 0, unasked")
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return nil // it exited 0 after Cancel
	default:
		return err
	}
}

// startAndWait holds a thread: the system ends the child when the thread that made it ends.
func (o Options) startAndWait(command *exec.Cmd, logs io.Closer) error {
	ended := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := command.Start(); err != nil {
			_ = logs.Close()
			ended <- fmt.Errorf("start %s: %w", o.Program, err)
			return
		}
		_ = logs.Close()
		o.Logger.Info("the SV2 sidecar runs", "pid", command.Process.Pid, "program", o.Program)
		ended <- command.Wait()
	}()
	return <-ended
}
