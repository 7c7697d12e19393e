// What the memory of accepted headers promises when tips come late or come back.
package sv2

import (
	"slices"
	"testing"
)

func accept(s *Seen, tip, header byte) RejectReason {
	reason, _ := s.Accept(repeated(tip), repeated(header), false)
	return reason
}

func TestALateJobOfAnOldTipCostsTheNewestNothing(t *testing.T) {
	s := NewSeen(0)
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
	s := NewSeen(0)
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
	s := NewSeen(0)
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
