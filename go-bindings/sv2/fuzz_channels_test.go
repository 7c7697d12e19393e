// Channels of a pool under any calls of a carrier.
package sv2

import (
	"errors"
	"math"
	"testing"
)

// FuzzChannels opens, updates, closes and submits in any order, and compares with a naive model: no two
// open channels can mine the same header, each submit has one verdict, and what can't be served is
// refused and changes nothing.
func FuzzChannels(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 1, 9, 4, 0, 1, 3, 0, 2, 0})
	f.Add([]byte{0, 1, 3, 0, 0, 0, 3, 1, 2, 200, 2, 1, 255, 4, 0, 4, 0, 5, 3, 0, 0})
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 1, 0, 2, 0, 0, 1, 1, 3, 2, 3, 1, 3, 0, 5})
	f.Fuzz(func(t *testing.T, data []byte) {
		r := newRig(t, func(config *PoolConfig, _ *rig) {
			// So few prefixes that they are given away again.
			config.PrefixSize, config.ExtranonceSize, config.MaxChannels = 1, 3, 5
			config.Limits.Hardest = bitsTarget(40)
		})
		walk := &channelWalk{rig: r, data: data}
		for len(walk.data) > 0 && walk.step < 60 {
			walk.next(t)
		}
		for _, m := range walk.open {
			m.leave()
		}
		if left := r.Channels(); len(left) != 0 {
			t.Fatalf("%d channels are open still", len(left))
		}
	})
}

type channelWalk struct {
	*rig
	data []byte
	step int
	open []*miner
	last []byte // prefix that was given last
}

func (w *channelWalk) byte() (b byte) {
	if len(w.data) > 0 {
		b, w.data = w.data[0], w.data[1:]
	}
	return b
}

func (w *channelWalk) some() (int, *miner) {
	if len(w.open) == 0 {
		return 0, nil
	}
	i := int(w.byte()) % len(w.open)
	return i, w.open[i]
}

func (w *channelWalk) hashRate() float64 {
	return []float64{0, 1, 1e12, math.MaxFloat32, math.NaN(), -1, math.Inf(1), 1e300}[w.byte()%8]
}

func (w *channelWalk) target() Target {
	return []Target{MaxTarget, bitsTarget(250), bitsTarget(40), bitsTarget(39), {}}[w.byte()%5]
}

// served reports whether such a miner can be.
func (w *channelWalk) served(hashRate float64, maxTarget Target) bool {
	return hashRate >= 0 && !math.IsInf(hashRate, 1) && maxTarget.Cmp(bitsTarget(40)) >= 0
}

func (w *channelWalk) next(t *testing.T) {
	w.step++
	switch w.byte() % 6 {
	case 0:
		w.opens(t)
	case 1:
		if _, m := w.some(); m != nil {
			update := UpdateRequest{w.hashRate(), w.target()}
			err := m.Update(t.Context(), update)
			if (err == nil) != w.served(update.NominalHashRate, update.MaxTarget) {
				t.Fatalf("%+v: %v", update, err)
			}
		}
	case 2:
		if i, m := w.some(); m != nil {
			w.last = m.Prefix
			m.leave()
			w.open = append(w.open[:i], w.open[i+1:]...)
		}
	case 3:
		w.submits(t)
	case 4:
		w.newTip(t)
	case 5:
		w.seconds.Add(int64(w.byte()))
		if err := w.retarget(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	w.distinct(t)
}

func (w *channelWalk) opens(t *testing.T) {
	request := OpenRequest{
		Kind: []Kind{Extended, Standard}[w.byte()%2], NominalHashRate: w.hashRate(),
		MaxTarget: w.target(), MinExtranonceSize: int(w.byte() % 5), WantedPrefix: w.last,
	}
	sink := newTape()
	channel, opened, err := w.OpenChannel(t.Context(), request, sink)
	fits := request.Kind == Standard || request.MinExtranonceSize <= 3
	served := w.served(request.NominalHashRate, request.MaxTarget) && fits && len(w.open) < 5
	if (err == nil) != served {
		t.Fatalf("%+v with %d open: %v", request, len(w.open), err)
	}
	var refusal *Refusal
	switch {
	case err != nil && !errors.As(err, &refusal):
		t.Fatalf("%+v: %v", request, err)
	case err != nil:
		return
	case len(opened.Prefix)+opened.ExtranonceSize != 4 || opened.Job == nil || opened.Target.IsZero():
		t.Fatalf("%+v", opened)
	}
	w.open = append(w.open, &miner{Channel: channel, Opened: opened, tape: sink})
}

// submits sends a few shares, one of them twice.
func (w *channelWalk) submits(t *testing.T) {
	_, m := w.some()
	if m == nil {
		return
	}
	before := len(of[Verdict](m.tape))
	batch := m.shares(m.job(), 1+int(w.byte()%4))
	again := batch[0]
	m.next++
	again.ID = m.next
	batch = append(batch, again)
	m.Submit(append([]Submit(nil), batch...))
	verdicts := await[Verdict](t, m.tape, before+len(batch))[before:]
	for i, verdict := range verdicts {
		if verdict.SubmitID != batch[i].ID {
			t.Fatalf("verdict %d is about submit %d, not %d", i, verdict.SubmitID, batch[i].ID)
		}
		switch verdict.Reason {
		case RejectNone, RejectLowDifficulty, RejectDuplicate:
		default:
			t.Fatalf("%+v", verdict)
		}
	}
	if verdicts[len(verdicts)-1].Accepted() {
		t.Fatal("the same header is accepted twice")
	}
}

// distinct fails when two open channels have a whole extranonce in common.
func (w *channelWalk) distinct(t *testing.T) {
	for i, a := range w.open {
		for _, b := range w.open[:i] {
			short := min(len(a.Prefix), len(b.Prefix))
			if string(a.Prefix[:short]) == string(b.Prefix[:short]) {
				t.Fatalf("prefixes %x and %x", a.Prefix, b.Prefix)
			}
		}
	}
	if open := w.Channels(); len(open) != len(w.open) {
		t.Fatalf("%d channels are open, not %d", len(open), len(w.open))
	}
}
