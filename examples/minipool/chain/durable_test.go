// Promises of the journal of blocks: what a full disk does to it.

package chain

import (
	"errors"
	"os"
	"testing"
)

// fillDisk makes every write to the journal fail with ENOSPC until the returned function is called.
func fillDisk(t *testing.T, c *Chain) func() {
	t.Helper()
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	kept := c.store.journal.file
	c.store.journal.file = full
	return func() {
		c.store.journal.file = kept
		_ = full.Close()
	}
}

func submitOne(t *testing.T, c *Chain) error {
	t.Helper()
	tmpl := mustTemplate(t, c)
	return c.Submit(solved(t, tmpl, coinbaseFor(t, tmpl, c.PoolScript(), "extranonce")))
}

func TestABlockThatIsNotOnDiskIsTheTipAndSubmitSaysSo(t *testing.T) {
	dir := t.TempDir()
	c := openEasy(t, dir)
	mine(t, c, 2)
	told, unsubscribe := c.Subscribe()
	defer unsubscribe()
	makeRoom := fillDisk(t, c)
	for range 2 {
		before, height := c.Tip()
		if err := submitOne(t, c); !errors.Is(err, ErrNotDurable) {
			t.Errorf("with a full disk: %v", err)
		}
		if tip, now := c.Tip(); tip == before || now != height+1 {
			t.Errorf("the tip is still at %d", now)
		}
		select {
		case <-told:
		default:
			t.Error("nobody was told of the tip")
		}
	}
	makeRoom()
	// The next block brings the others along: without its parents it would be lost in a crash, too.
	if err := submitOne(t, c); err != nil {
		t.Errorf("with room again: %v", err)
	}
	tip, height := c.Tip()
	again := openComplaining(t, copyDir(t, dir), "the chain was not closed cleanly")
	wantTip(t, again, tip, height)
}
