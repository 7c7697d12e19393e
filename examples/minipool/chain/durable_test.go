// Promises of the journal of blocks: what a full disk does to it, and that it doesn't grow for ever.

package chain

import (
	"errors"
	"os"
	"path/filepath"
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
	return c.Submit(t.Context(), solved(t, tmpl, coinbaseFor(t, tmpl, c.PoolScript(), "extranonce")))
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

func TestTheJournalIsEmptyOnceItWasReplayed(t *testing.T) {
	dir := t.TempDir()
	c := openEasy(t, dir)
	mine(t, c, 5)
	tip, height := c.Tip()
	crashed := copyDir(t, dir)
	size := func() int64 {
		info, err := os.Stat(filepath.Join(crashed, journalFile))
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	if size() == 0 {
		t.Fatal("nothing to replay: the test doesn't test it")
	}
	again := openComplaining(t, crashed, "the chain was not closed cleanly")
	if size() != 0 {
		t.Errorf("the journal has %d bytes after the replay", size())
	}
	// Another crash: the blocks are in the database, and there is nothing to complain about.
	third := openEasy(t, copyDir(t, crashed))
	wantTip(t, third, tip, height)
	mine(t, third, 1)
	wantTip(t, again, tip, height)
	mine(t, again, 1)
}
