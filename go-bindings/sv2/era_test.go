// A prefix that somebody may come back for is nobody else's, restart after restart.
package sv2

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// Lives of a pool, one after the other, with holders that come back at once, later, or never.
func TestNeverHandsOutAPrefixThatAnEarlierLifeMayWantBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		leading := rapid.SliceOfN(rapid.Byte(), 0, 3).Draw(t, "leading")
		free := rapid.IntRange(1, 10).Draw(t, "free bytes")
		counterBits := rapid.IntRange(1, min(8*free, 64)-1).Draw(t, "counter bits")
		era := rapid.Uint64().Draw(t, "first era")
		var a *ExtranonceAllocator
		eraBits := 0
		born := map[string]uint64{} // of those that may be wanted: the life they are from
		life := uint64(0)
		held := map[string]bool{} // in this life
		start := func(t *rapid.T) {
			var err error
			if a, err = NewExtranonceAllocator(leading, len(leading)+free); err != nil {
				t.Fatal(err)
			}
			life++
			era++
			if eraBits = a.StartEra(era, counterBits); eraBits < 1 {
				t.Fatalf("%d bits for eras", eraBits)
			}
			a.StartAt(rapid.Uint64().Draw(t, "start"))
			held = map[string]bool{}
			for prefix, from := range born { // beyond these the eras repeat
				if life-from >= 1<<min(eraBits, 32)-1 {
					delete(born, prefix)
				}
			}
		}
		pick := func(t *rapid.T, from func(string) bool) (string, bool) {
			var all []string
			for prefix := range born {
				if from(prefix) {
					all = append(all, prefix)
				}
			}
			if len(all) == 0 {
				return "", false
			}
			slices.Sort(all)
			return rapid.SampledFrom(all).Draw(t, "which"), true
		}
		start(t)
		t.Repeat(map[string]func(*rapid.T){
			"restart": start,
			"open": func(t *rapid.T) {
				for range rapid.IntRange(1, 20).Draw(t, "count") {
					prefix, err := a.Allocate()
					if errors.Is(err, ErrNoPrefix) {
						return
					}
					from, wanted := born[string(prefix)]
					if err != nil || held[string(prefix)] || wanted && from != life {
						t.Fatalf("%x of life %d was handed out in life %d: %v", prefix, from, life, err)
					}
					held[string(prefix)] = true
					born[string(prefix)] = life
				}
			},
			"come back": func(t *rapid.T) {
				prefix, ok := pick(t, func(p string) bool { return !held[p] && born[p] != life })
				if !ok {
					return
				}
				if err := a.AllocateWanted([]byte(prefix)); err != nil {
					t.Fatalf("%x of life %d is free in life %d: %v", prefix, born[prefix], life, err)
				}
				held[prefix] = true
			},
			"close": func(t *rapid.T) {
				prefix, ok := pick(t, func(p string) bool { return held[p] })
				if !ok {
					return
				}
				if !a.Release([]byte(prefix)) {
					t.Fatalf("%x was not held", prefix)
				}
				delete(held, prefix)
			},
		})
	})
}

func TestAnEraWithoutRoomForItselfLeavesAllToTheCounter(t *testing.T) {
	a := newAllocator(t, nil, 1)
	if n := a.StartEra(77, 18); n != 0 {
		t.Errorf("%d bits", n)
	}
	for range 256 {
		allocate(t, a)
	}
	if _, err := a.Allocate(); !errors.Is(err, ErrNoPrefix) {
		t.Errorf("the 257th: %v", err)
	}
}

func TestCountsStartsInAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "starts")
	first, err := NextEra(path)
	if err != nil {
		t.Fatal(err)
	}
	for want := first + 1; want < first+5; want++ {
		if era, err := NextEra(path); err != nil || era != want {
			t.Errorf("era %d, %v: want %d", era, err, want)
		}
	}
	if other, err := NextEra(filepath.Join(t.TempDir(), "starts")); err != nil || other == first {
		t.Errorf("another file begins at %d, too: %v", other, err)
	}
	for _, text := range []string{"", "x", "-1", "1\n2", "99999999999999999999"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if era, err := NextEra(path); err == nil {
			t.Errorf("%q: era %d", text, era)
		}
	}
	if err := os.WriteFile(path, []byte("18446744073709551615"), 0o600); err != nil {
		t.Fatal(err)
	}
	if era, err := NextEra(path); err != nil || era != 1 {
		t.Errorf("after the last: %d, %v", era, err)
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if _, err := NextEra(filepath.Join(path, "none", "starts")); err == nil {
		t.Error("no error without a directory")
	}
}

func TestARestartedPoolGrantsOldPrefixesAndGivesNewChannelsOthers(t *testing.T) {
	var old [][]byte
	for era := uint64(1); era <= 3; era++ {
		r := newRig(t, func(config *PoolConfig, _ *rig) {
			config.Era = era
			config.MaxChannels = 8
		})
		for range 8 { // the quicker ones
			_, opened, err := r.OpenChannel(t.Context(), extendedRequest(), newTape())
			if err != nil {
				t.Fatal(err)
			}
			for _, prefix := range old {
				if bytes.Equal(prefix, opened.Prefix) {
					t.Errorf("era %d: %x is somebody's already", era, prefix)
				}
			}
			if era == 3 {
				continue
			}
			old = append(old, opened.Prefix)
		}
		if _, _, err := r.OpenChannel(t.Context(), extendedRequest(), newTape()); err == nil {
			t.Error("more than MaxChannels are open")
		}
		if era != 3 {
			continue
		}
		for _, prefix := range old[:8] {
			request := extendedRequest()
			request.Reopen, request.WantedPrefix = true, prefix
			request.LastTarget = TargetFromDifficulty(0.25)
			_, opened, err := r.OpenChannel(t.Context(), request, newTape())
			if err != nil || !bytes.Equal(opened.Prefix, prefix) || opened.Target != request.LastTarget {
				t.Errorf("wanted %x at %v, got %x at %v: %v", prefix, request.LastTarget, opened.Prefix,
					opened.Target, err)
			}
		}
		request := extendedRequest()
		request.Reopen = true
		if _, _, err := r.OpenChannel(t.Context(), request, newTape()); err == nil {
			t.Error("more than twice MaxChannels are open")
		}
	}
}

func TestWithdrawnSharesReachTheBooksEvenAfterTheClose(t *testing.T) {
	var withdrawn []uint64
	var reported []error
	r := newRig(t, func(config *PoolConfig, _ *rig) {
		config.OnWithdraw = func(_ context.Context, c ChannelInfo, v Verdict) error {
			if c.ID == 0 || !v.Accepted() {
				t.Errorf("withdraw %+v of channel %d", v, c.ID)
			}
			withdrawn = append(withdrawn, v.SubmitID)
			if v.SubmitID == 2 {
				return errors.New("disk full")
			}
			return nil
		}
		config.OnError = func(err error) { reported = append(reported, err) }
	})
	channel, _, err := r.OpenChannel(t.Context(), extendedRequest(), newTape())
	if err != nil {
		t.Fatal(err)
	}
	channel.(Withdrawer).Withdraw([]Verdict{{SubmitID: 1}, {SubmitID: 2}})
	channel.Close("")
	channel.(Withdrawer).Withdraw([]Verdict{{SubmitID: 3}})
	if !slices.Equal(withdrawn, []uint64{1, 2, 3}) || len(reported) != 1 {
		t.Errorf("withdrawn %v, reported %v", withdrawn, reported)
	}
}
