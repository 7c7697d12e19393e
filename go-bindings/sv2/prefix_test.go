// Extranonce prefixes: never two holders, back as late as possible.
package sv2

import (
	"bytes"
	"errors"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

func newAllocator(t testing.TB, leading []byte, size int) *ExtranonceAllocator {
	t.Helper()
	a, err := NewExtranonceAllocator(leading, size)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func allocate(t testing.TB, a *ExtranonceAllocator) []byte {
	t.Helper()
	prefix, err := a.Allocate()
	if err != nil {
		t.Fatal(err)
	}
	return prefix
}

func TestNeverHandsOutAPrefixTwice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		leading := rapid.SliceOfN(rapid.Byte(), 0, 30).Draw(t, "leading")
		free := rapid.IntRange(1, 2).Draw(t, "free bytes")
		a, err := NewExtranonceAllocator(leading, len(leading)+free)
		if err != nil {
			t.Fatal(err)
		}
		a.StartAt(rapid.Uint64().Draw(t, "start"))
		space := 1 << (8 * free)
		held := map[string]bool{}
		var order []string // of held ones, so that rapid can pick one
		take := func(t *rapid.T, prefix []byte) {
			if held[string(prefix)] {
				t.Fatalf("%x has two holders", prefix)
			}
			if len(prefix) != len(leading)+free || !bytes.HasPrefix(prefix, leading) {
				t.Fatalf("%x is none of %x", prefix, leading)
			}
			held[string(prefix)] = true
			order = append(order, string(prefix))
		}
		t.Repeat(map[string]func(*rapid.T){
			"allocate": func(t *rapid.T) {
				for range rapid.IntRange(1, 100).Draw(t, "count") {
					prefix, err := a.Allocate()
					if err != nil {
						if !errors.Is(err, ErrNoPrefix) || len(held) != space {
							t.Fatalf("%d of %d held: %v", len(held), space, err)
						}
						return
					}
					take(t, prefix)
				}
			},
			"want": func(t *rapid.T) {
				wanted := append(bytes.Clone(leading),
					rapid.SliceOfN(rapid.Byte(), free, free).Draw(t, "wanted")...)
				if a.AllocateWanted(wanted) == nil {
					take(t, wanted)
				}
			},
			"release": func(t *rapid.T) {
				if len(order) == 0 {
					return
				}
				i := rapid.IntRange(0, len(order)-1).Draw(t, "which")
				prefix := []byte(order[i])
				order = append(order[:i], order[i+1:]...)
				delete(held, string(prefix))
				if !a.Release(prefix) {
					t.Fatalf("%x was not held", prefix)
				}
				if a.Release(prefix) {
					t.Fatalf("%x was held after it was given back", prefix)
				}
			},
			"": func(t *rapid.T) {
				if a.Held() != len(held) {
					t.Fatalf("%d held, not %d", a.Held(), len(held))
				}
			},
		})
	})
}

func TestReleasedPrefixesComeBackLastAndInOrder(t *testing.T) {
	a := newAllocator(t, []byte{7}, 2)
	var first [][]byte
	for range 3 {
		first = append(first, allocate(t, a))
	}
	for _, prefix := range first {
		a.Release(prefix)
	}
	seen := map[string]bool{}
	for range 253 {
		seen[string(allocate(t, a))] = true
	}
	for _, prefix := range first {
		if seen[string(prefix)] {
			t.Errorf("%x came back while others had never been used", prefix)
		}
		if again := allocate(t, a); !bytes.Equal(again, prefix) {
			t.Errorf("%x came back before %x", again, prefix)
		}
	}
	if _, err := a.Allocate(); !errors.Is(err, ErrNoPrefix) {
		t.Errorf("the space has 256 prefixes, and then: %v", err)
	}
}

func TestQuarantineIsBounded(t *testing.T) {
	a := newAllocator(t, nil, 4)
	for range 2*quarantineSize + 10 {
		a.Release(allocate(t, a))
	}
	if len(a.resting) != quarantineSize || len(a.quarantine) != quarantineSize ||
		a.taken != quarantineSize {
		t.Errorf("%d resting, %d in the queue, %d taken", len(a.resting), len(a.quarantine), a.taken)
	}
	// Coming and going under one name takes no more.
	one := allocate(t, a)
	for range quarantineSize + 10 {
		a.Release(one)
		if err := a.AllocateWanted(one); err != nil {
			t.Fatal(err)
		}
	}
	if len(a.quarantine) > quarantineSize || a.taken != uint64(len(a.resting))+1 {
		t.Errorf("%d in the queue, %d resting, %d taken", len(a.quarantine), len(a.resting), a.taken)
	}
}

func TestGrantsAWantedPrefixOnlyIfItIsFree(t *testing.T) {
	a := newAllocator(t, []byte{1, 2}, 12)
	free := []byte{1, 2, 0, 0, 5, 5, 5, 5, 5, 5, 5, 5}
	if err := a.AllocateWanted(free); err != nil {
		t.Fatal(err)
	}
	for name, wanted := range map[string][]byte{
		"held":                free,
		"empty":               nil,
		"short":               free[:11],
		"long":                append(bytes.Clone(free), 0),
		"other leading bytes": append([]byte{1, 3}, free[2:]...),
		"outside the counter": append([]byte{1, 2, 1}, free[3:]...),
	} {
		if err := a.AllocateWanted(wanted); !errors.Is(err, ErrPrefixTaken) {
			t.Errorf("%s: %v", name, err)
		}
		if name != "held" && a.Release(wanted) {
			t.Errorf("%s: released", name)
		}
	}
	a.Release(free)
	if err := a.AllocateWanted(free); err != nil {
		t.Errorf("back again: %v", err)
	}
}

func TestRejectsPrefixSizesWithNothingToCount(t *testing.T) {
	for _, test := range []struct {
		leading, size int
	}{{0, 0}, {0, -1}, {0, 33}, {4, 4}, {5, 4}} {
		if _, err := NewExtranonceAllocator(make([]byte, test.leading), test.size); err == nil {
			t.Errorf("%+v: no error", test)
		}
	}
}

func TestHandsOutPrefixesToManyAtOnce(t *testing.T) {
	a := newAllocator(t, nil, 1)
	var held sync.Map
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 500 {
				prefix, err := a.Allocate()
				if err != nil {
					t.Errorf("8 holders in a space of 256: %v", err)
					return
				}
				if _, taken := held.LoadOrStore(string(prefix), true); taken {
					t.Errorf("%x has two holders", prefix)
				}
				held.Delete(string(prefix))
				a.Release(prefix)
			}
		})
	}
	all.Wait()
}
