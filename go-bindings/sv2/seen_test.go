// What the memory of accepted headers promises when tips come late or come back.
package sv2

import (
	"slices"
	"sync/atomic"
	"testing"
)

func accept(s *Seen, tip, header byte) RejectReason {
	reason, _ := s.Accept(repeated(tip), repeated(header), 0, false)
	return reason
}

func TestALateJobOfAnOldTipCostsTheNewestNothing(t *testing.T) {
	s := NewSeen(0, 0)
	for tip := range byte(4) {
		s.Tip(repeated('a' + tip))
	}
	if got := accept(s, 'd', 1); got != RejectNone {
		t.Fatalf("on the newest tip: %s", got)
	}
	for _, late := range []byte{'b', 'a', 'c', 'b', 'a'} {
		s.Tip(repeated(late))
		if got := accept(s, 'd', 1); got != RejectDuplicate {
			t.Errorf("the same header after a late job of tip %c: %s", late, got)
		}
	}
	for _, old := range []byte{'a', 'b'} {
		if got := accept(s, old, 2); got != RejectStale {
			t.Errorf("on forgotten tip %c: %s", old, got)
		}
	}
}

func TestATipToldAgainIsTheNewest(t *testing.T) {
	s := NewSeen(0, 0)
	s.Tip(repeated('a'))
	if got := accept(s, 'a', 1); got != RejectNone {
		t.Fatalf("first: %s", got)
	}
	for _, tip := range []byte{'b', 'a', 'c', 'a', 'd', 'a', 'e'} {
		s.Tip(repeated(tip))
	}
	if got := accept(s, 'a', 1); got != RejectDuplicate {
		t.Errorf("the header after the tip had come back: %s", got)
	}
	if got := accept(s, 'd', 1); got != RejectStale {
		t.Errorf("on the tip that was left for it: %s", got)
	}
}

func TestForgottenTipsAreBounded(t *testing.T) {
	s := NewSeen(0, 0)
	for n := range forgottenTips + 12 {
		s.Tip(Hash{byte(n), byte(n >> 8), 1})
	}
	for n, want := range map[int]bool{9: false, 10: true, forgottenTips + 9: true} {
		if got := slices.Contains(s.forgotten, Hash{byte(n), byte(n >> 8), 1}); got != want {
			t.Errorf("tip %d is known as.forgotten: %v", n, got)
		}
	}
	if len(s.forgotten) != forgottenTips {
		t.Errorf("%d tips", len(s.forgotten))
	}
}

func TestSharesAreNotPaidAgainWhenTheChainGoesBackAndForth(t *testing.T) {
	r := newRig(t, nil)
	m := r.join(t, extendedRequest())
	shares := m.shares(m.job(), 5) // on template 1
	m.Submit(slices.Clone(shares))
	await[Verdict](t, m.tape, 5)
	for round, template := range []uint32{2, 1, 3, 1} {
		r.template.Store(template)
		if err := r.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		m.Submit(slices.Clone(shares))
		want := RejectStale
		if template == 1 {
			want = RejectDuplicate
		}
		for _, verdict := range await[Verdict](t, m.tape, 10+5*round)[5+5*round:] {
			if verdict.Reason != want {
				t.Errorf("round %d: %s, want %s", round, verdict.Reason, want)
			}
		}
	}
}

func TestOnlyTheChannelThatUsedUpItsRoomIsRefused(t *testing.T) {
	seen := NewSeen(100, 10)
	greedy := NewCheck([]byte{9, 9}, 2, MaxTarget, seen)
	modest := NewCheck([]byte{9, 8}, 2, MaxTarget, seen)
	tip := func(tip byte) {
		addJobs(t, greedy, testJob(uint64(tip), tip, hardBits))
		addJobs(t, modest, testJob(uint64(tip), tip, hardBits))
	}
	nonce := uint32(0)
	share := func(check *Check, tip byte) RejectReason {
		nonce++
		return judgeAt(check, testSubmit(uint64(tip), nonce), 1500).Reason
	}
	tip('a')
	for i := range 13 {
		want := RejectNone
		if i >= 10 {
			want = RejectRateLimited
		}
		if got := share(greedy, 'a'); got != want {
			t.Errorf("share %d: %s, want %s", i+1, got, want)
		}
	}
	if got := judgeAt(greedy, testSubmit('a', 1), 1500).Reason; got != RejectDuplicate {
		t.Errorf("a share sent twice: %s", got)
	}
	if got := share(modest, 'a'); got != RejectNone {
		t.Errorf("another channel: %s", got)
	}
	tip('b')
	if got := share(greedy, 'b'); got != RejectNone {
		t.Errorf("on the next tip: %s", got)
	}
	// Back on a tip that is still known, what was used is used.
	greedy.SetTip(repeated('a'))
	if got := share(greedy, 'a'); got != RejectRateLimited {
		t.Errorf("back on the tip before: %s", got)
	}
	greedy.SetTip(repeated('b'))
	if got := share(greedy, 'b'); got != RejectNone || greedy.held != [2]int{2, 10} {
		t.Errorf("and forth again: %s, held %v", got, greedy.held)
	}
}

func TestOneMinerCannotUseUpTheMemoryOfThePool(t *testing.T) {
	r := newRig(t, nil)
	if r.seen.perChannel != SeenPerChannel || r.seen.limit < 64*SeenPerChannel {
		t.Errorf("a channel may have %d of %d", r.seen.perChannel, r.seen.limit)
	}
	fast := newRig(t, func(c *PoolConfig, _ *rig) { c.SharesPerMinute = 600 })
	if want := 600 * 60 * 6; fast.seen.perChannel != want {
		t.Errorf("at 600 shares a minute a channel may have %d, want %d", fast.seen.perChannel, want)
	}
	r.seen.perChannel = 100
	a, b := r.join(t, extendedRequest()), r.join(t, extendedRequest())
	a.Submit(a.shares(a.job(), 150))
	limited := 0
	for _, verdict := range await[Verdict](t, a.tape, 150) {
		if verdict.Reason == RejectRateLimited {
			limited++
		}
	}
	b.Submit(b.shares(b.job(), 100))
	for _, verdict := range await[Verdict](t, b.tape, 100) {
		if !verdict.Accepted() {
			t.Errorf("the other miner: %+v", verdict)
		}
	}
	if limited != 50 {
		t.Errorf("%d shares refused, want 50", limited)
	}
}

// The defaults let 393,216 shares a minute come: a memory of 2^22 headers was full of honest ones in 640
// seconds, and a block takes longer than that one time in three.
func TestAFullPoolIsNotRefusedForAnHonestHour(t *testing.T) {
	for _, pool := range []struct {
		channels int
		rate     float64
	}{{0, 0}, {65536, 60}, {1 << 24, 6000}, {10, 6}} {
		r := newRig(t, func(c *PoolConfig, _ *rig) {
			c.MaxChannels, c.SharesPerMinute, c.PrefixSize = pool.channels, pool.rate, 8
		})
		config := r.config
		hour := int(config.SharesPerMinute * 60)
		if got := r.seen.limit / config.MaxChannels; got < 3*hour || r.seen.limit < SeenPerTip {
			t.Errorf("%d channels at %v a minute: room for %d shares of each, %d in all",
				config.MaxChannels, config.SharesPerMinute, got, r.seen.limit)
		}
		if r.seen.fair < 3*hour || r.seen.perChannel < r.seen.fair && r.seen.perChannel < 6*hour {
			t.Errorf("%d channels at %v a minute: fair is %d, at most %d", config.MaxChannels,
				config.SharesPerMinute, r.seen.fair, r.seen.perChannel)
		}
	}
}

func TestManyGreedyChannelsLeaveTheOthersTheirPart(t *testing.T) {
	var faults atomic.Int32
	r := newRig(t, func(c *PoolConfig, _ *rig) { c.OnError = func(error) { faults.Add(1) } })
	r.seen.limit, r.seen.perChannel, r.seen.fair = 400, 100, 10
	send := func(m *miner, n, want int) {
		t.Helper()
		before := len(of[Verdict](m.tape))
		m.Submit(m.shares(m.job(), n))
		accepted := 0
		for _, verdict := range await[Verdict](t, m.tape, before+n)[before:] {
			if verdict.Accepted() {
				accepted++
			} else if verdict.Reason != RejectRateLimited {
				t.Errorf("%+v", verdict)
			}
		}
		if accepted != want {
			t.Errorf("%d of %d shares accepted, want %d", accepted, n, want)
		}
	}
	send(r.join(t, extendedRequest()), 100, 100)
	send(r.join(t, extendedRequest()), 120, 100) // and its own room is used up
	if faults.Load() != 0 {
		t.Errorf("told of a full memory by a channel that used up its own: %d", faults.Load())
	}
	for range 20 { // half the room is taken: they get their part of the whole
		send(r.join(t, extendedRequest()), 12, 10)
	}
	send(r.join(t, extendedRequest()), 1, 0)
	if faults.Load() != 1 {
		t.Errorf("%d faults told on one tip, want 1", faults.Load())
	}
	r.newTip(t)
	send(r.join(t, extendedRequest()), 100, 100)
	if faults.Load() != 1 {
		t.Errorf("%d faults told, want 1", faults.Load())
	}
}

// Nobody who doesn't know the pool's key can make two headers that it takes for one.
func TestHeadersThatAgreeInHalfTheirBytesAreTwo(t *testing.T) {
	s := NewSeen(0, 0)
	s.Tip(repeated('a'))
	for n := range byte(32) {
		header := repeated(7)
		header[n] = 1
		if reason, _ := s.Accept(repeated('a'), header, 0, false); reason != RejectNone {
			t.Errorf("a header with another byte %d: %s", n, reason)
		}
	}
}
