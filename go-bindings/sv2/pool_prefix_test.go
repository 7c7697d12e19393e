// What a prefix that was set aside is good for.
package sv2

import (
	"bytes"
	"context"
	"testing"
)

func TestAReservedPrefixIsForWhoWantsIt(t *testing.T) {
	r := newRig(t, func(c *PoolConfig, _ *rig) { c.PrefixSize = 1 })
	reserved, err := r.ReservePrefix(nil)
	if err != nil {
		t.Fatal(err)
	}
	open := func(wanted []byte) (Channel, []byte) {
		channel, opened, err := r.OpenChannel(context.Background(), OpenRequest{Kind: Extended,
			MaxTarget: MaxTarget, WantedPrefix: wanted}, newTape())
		if err != nil {
			t.Fatal(err)
		}
		return channel, opened.Prefix
	}
	// All others are handed out, and this one is not.
	for range 255 {
		if _, prefix := open(nil); bytes.Equal(prefix, reserved) {
			t.Fatal("the reserved prefix was given to somebody")
		}
	}
	if other, err := r.ReservePrefix(reserved); err == nil {
		t.Errorf("%x was reserved with none left", other)
	}
	channel, prefix := open(reserved)
	if !bytes.Equal(prefix, reserved) {
		t.Fatalf("got %x, reserved %x", prefix, reserved)
	}
	if r.ReleasePrefix(reserved) {
		t.Error("a prefix in use was given back")
	}
	channel.Close("done")
	if again, err := r.ReservePrefix(reserved); err != nil || !bytes.Equal(again, reserved) {
		t.Errorf("wanted %x, got %x, %v", reserved, again, err)
	}
	if !r.ReleasePrefix(reserved) || r.ReleasePrefix(reserved) {
		t.Error("not given back once")
	}
	if _, prefix := open(nil); !bytes.Equal(prefix, reserved) {
		t.Errorf("the prefix that was given back is gone: %x", prefix)
	}
}
