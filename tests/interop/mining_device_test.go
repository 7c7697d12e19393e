// mining_device, the CPU miner of integration_tests_sv2: a standard channel.

package interop

import (
	"net"
	"syscall"
	"testing"
	"time"
)

// mining_device writes one line for each share that it finds (and submits), and one for each answer.
const (
	deviceFound   = "Found share with nonce"
	deviceSuccess = "Received SubmitSharesSuccess"
	deviceError   = "Received SubmitSharesError"
)

func TestMiningDeviceOnAStandardChannel(t *testing.T) {
	program := peer(t, "mining_device")
	l := startLine(t)
	// Its header time is its clock's and a minute more, whatever the job asks for: two blocks of its
	// own in the same second, on a new chain, would push the earliest valid time beyond that.
	l.newTip()
	device := start(t, l.directory, "mining_device", program,
		"--address-pool", net.JoinHostPort(l.host, l.port), "--pubkey-pool", l.key,
		"--id-user", l.address+".device", "--cores", "1",
		// It sleeps 10 ms after 4096 hashes, so that it finds few blocks, and claims much more: its
		// first target is too hard, and has to change.
		"--handicap", "10000", "--nonces-per-call", "4096", "--nominal-hashrate-multiplier", "5")
	accepted := func(want int) {
		t.Helper()
		device.eventually("more shares", func() bool { return l.books("minipool").accepted() >= want })
	}
	accepted(25)
	l.newTip()
	accepted(l.books("minipool").accepted() + 30)
	if device.count("Received SetTarget") == 0 {
		t.Error("its target did not change")
	}

	settleDevice(t, l, device)
	device.kill()
	sidecar, minipool := l.stop()
	found, errors := device.count(deviceFound), device.count(deviceError)
	successes := device.count(deviceSuccess)
	t.Logf("mining_device: %d shares found, %d Success and %d Error heard; minipool: %d accepted, "+
		"%d tips, difficulties %v; sidecar: rejected %v", found, successes, errors, minipool.accepted(),
		len(minipool.of("tip")), minipool.difficulties(), sidecar.rejected())
	if own := found - errors; own != minipool.accepted() || own < 50 {
		t.Errorf("accepted: %d by the device's count, %d by minipool's, want 50 or more",
			own, minipool.accepted())
	}
	// It mines to a new target at once, and the job that the target is for comes a moment later.
	checkRejects(t, sidecar, minipool, device.count("Received SetTarget"))
	// A Success may stand for several shares; how many, the device doesn't print.
	if successes > minipool.accepted() || successes < minipool.accepted()*3/4 {
		t.Errorf("the device heard %d Successes for %d shares", successes, minipool.accepted())
	}
}

// settleDevice freezes the device at a moment when each share that it found has its answer. It never
// stops searching by itself, and killed at any moment it may have found a share that it never sent.
func settleDevice(t *testing.T, l *line, device *process) {
	t.Helper()
	for range 50 {
		device.signal(syscall.SIGSTOP)
		time.Sleep(200 * time.Millisecond) // what it had sent is answered
		sidecar := l.books("sidecar")
		if device.count(deviceFound) == len(sidecar.of("answer")) &&
			device.count(deviceError) == total(sidecar.rejected()) {
			return
		}
		device.signal(syscall.SIGCONT)
		time.Sleep(100 * time.Millisecond)
	}
	t.Errorf("%d shares found never were %d answers", device.count(deviceFound),
		len(l.books("sidecar").of("answer")))
}
