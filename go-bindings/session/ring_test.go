// The ring of answers against a naive model.

package session

import (
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

// listed is a ring as one would write it down: a list, oldest first.
type listed struct {
	limit int
	list  []answer
	told  map[uint64]bool // on this stream, of what may come again
}

func (l *listed) add(a answer) {
	l.told[a.verdict.SubmitID] = true
	l.list = append(l.list, a)
	if len(l.list) > l.limit {
		l.list = l.list[1:]
	}
}

func (l *listed) find(id uint64) int {
	return slices.IndexFunc(l.list, func(a answer) bool { return a.verdict.SubmitID == id })
}

// contents are the answers of a ring, oldest first.
func (r *ring) contents() []answer {
	var all []answer
	for i := range r.used {
		if a := r.at(i); a.verdict.SubmitID != 0 {
			all = append(all, *a)
		}
	}
	return all
}

func newRingChannel() *channel { return &channel{} }

func begunOutbox() *outbox {
	o := newOutbox(1<<30, func() {})
	o.begin([]entry{{message: &sv2pb.SessionResponse{}}})
	o.take(nil, nil)
	return o
}

// queued takes the ids of all verdicts that wait.
func queued(o *outbox) []uint64 {
	verdicts, _ := o.take(nil, nil)
	ids := make([]uint64, len(verdicts))
	for i := range verdicts {
		ids[i] = verdicts[i].SubmitID
	}
	return ids
}

func TestTheRingKeepsTheNewestAnswersInTheOrderOfQueueing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(1, 200).Draw(t, "limit")
		r, model := newRing(limit), &listed{limit: limit, told: map[uint64]bool{}}
		out := begunOutbox()
		// Any submit may come again on any stream, which is more than sidecars do.
		const all = 1 << 40
		r.attach(out, all)
		last := uint64(0)
		channel := newRingChannel()
		some := func(t *rapid.T) []uint64 {
			n := rapid.IntRange(1, 40).Draw(t, "how many")
			ids := rapid.SliceOfN(rapid.Uint64Range(1, last+3), n, n).Draw(t, "ids")
			return ascending(ids)
		}
		t.Repeat(map[string]func(*rapid.T){
			"record": func(t *rapid.T) {
				verdicts := make([]sv2.Verdict, rapid.IntRange(0, 60).Draw(t, "verdicts"))
				var want []uint64
				for i := range verdicts {
					last++
					verdicts[i] = sv2.Verdict{SubmitID: last, Detail: "of " + string(rune(last))}
					model.add(answer{verdict: verdicts[i], channel: channel})
					want = append(want, last)
				}
				r.record(channel, verdicts)
				if got := queued(out); !slices.Equal(got, want) {
					t.Fatalf("queued %v, want %v", got, want)
				}
			},
			"break": func(*rapid.T) {
				out = begunOutbox()
				r.attach(out, all)
				clear(model.told)
			},
			"again": func(t *rapid.T) {
				ids := some(t)
				known := r.again(ids)
				var found []answer
				for i, id := range ids {
					want := model.find(id) >= 0 || model.told[id]
					if known[i] != want {
						t.Fatalf("answer to %d: %v, want %v", id, known[i], want)
					}
				}
				for _, a := range slices.Clone(model.list) {
					if slices.Contains(ids, a.verdict.SubmitID) && !model.told[a.verdict.SubmitID] {
						at := model.find(a.verdict.SubmitID)
						model.list = slices.Delete(model.list, at, at+1)
						found = append(found, a)
					}
				}
				var want []uint64
				for _, a := range found {
					model.add(a)
					want = append(want, a.verdict.SubmitID)
				}
				if got := queued(out); !slices.Equal(got, want) {
					t.Fatalf("queued again %v, want %v", got, want)
				}
			},
			"leave": func(*rapid.T) {
				r.leave(channel)
				model.list = slices.DeleteFunc(model.list,
					func(a answer) bool { return a.channel == channel })
				// While there is room they are still found; this model is one of no room.
				r.grow()
				channel = newRingChannel()
			},
			"forget": func(t *rapid.T) {
				ids := some(t)
				var want []answer
				for _, a := range slices.Clone(model.list) {
					if slices.Contains(ids, a.verdict.SubmitID) {
						at := model.find(a.verdict.SubmitID)
						model.list = slices.Delete(model.list, at, at+1)
						want = append(want, a)
					}
				}
				if got := r.forget(ids); !slices.Equal(got, want) {
					t.Fatalf("forgot %v, want %v", got, want)
				}
			},
			"": func(t *rapid.T) {
				if got := r.contents(); !slices.Equal(got, model.list) {
					t.Fatalf("the ring has %v, want %v", got, model.list)
				}
				if r.live != len(model.list) || len(r.slots) > max(firstSlots, 4*limit) {
					t.Fatalf("%d live of %d, %d slots", r.live, len(model.list), len(r.slots))
				}
			},
		})
	})
}

// A sidecar that keeps no more unanswered than max_in_flight finds every answer it asks for again,
// however often the stream breaks: the proof at ring, tried.
func TestTheRingNeverLosesAnAnswerThatIsStillWanted(t *testing.T) {
	for seed := range uint64(60) {
		random := rand.New(rand.NewPCG(seed, 1))
		limit := 1 + random.IntN(6)
		r, channel, out := newRing(limit), newRingChannel(), begunOutbox()
		r.attach(out, 0)
		var unanswered []uint64 // at the sidecar, ascending
		var resend []uint64     // of those, what it has not sent on this stream yet
		var owed []uint64       // by the host
		last, breaks, repeated := uint64(0), 0, 0
		answered := func(ids []uint64) {
			for _, id := range ids {
				at, ok := slices.BinarySearch(unanswered, id)
				if !ok {
					t.Fatalf("seed %d: a second verdict on %d", seed, id)
				}
				unanswered = slices.Delete(unanswered, at, at+1)
				if at, ok := slices.BinarySearch(resend, id); ok {
					resend = slices.Delete(resend, at, at+1)
				}
			}
		}
		for range 5000 {
			switch random.IntN(6) {
			case 0, 1: // the sidecar submits, what is new after what is not
				if len(resend) == 0 && len(unanswered) < limit {
					r.caughtUp()
					last++
					unanswered = append(unanswered, last)
					owed = append(owed, last)
				}
			case 2: // the host judges one
				if len(owed) > 0 {
					i := random.IntN(len(owed))
					r.record(channel, []sv2.Verdict{{SubmitID: owed[i]}})
					owed = slices.Delete(owed, i, i+1)
				}
			case 3: // the sidecar sends some again
				if len(resend) > 0 {
					n := 1 + random.IntN(len(resend))
					for i, known := range r.again(resend[:n]) {
						if known == slices.Contains(owed, resend[i]) {
							t.Fatalf("seed %d: submit %d: known %v", seed, resend[i], known)
						}
						repeated++
					}
					resend = slices.Clone(resend[n:])
				}
			case 4: // it hears
				answered(queued(out))
			case 5: // the stream breaks when a part of what was queued has arrived
				arrived := queued(out)
				answered(arrived[:random.IntN(len(arrived)+1)])
				out = begunOutbox()
				r.attach(out, last)
				resend = slices.Clone(unanswered)
				breaks++
			}
		}
		if breaks < 500 || repeated < 100 {
			t.Errorf("seed %d: %d breaks, %d sent again: the test tests little", seed, breaks, repeated)
		}
	}
}

// A verdict that comes before its submit is sent again is the only one of the stream, though its channel is
// kicked and others take its place.
func TestAnAnswerThatLeftTheRingIsNotGivenTwiceOnAStream(t *testing.T) {
	r, gone, stays := newRing(4), newRingChannel(), newRingChannel()
	r.attach(begunOutbox(), 0)
	out := begunOutbox()
	r.attach(out, 1)
	r.record(gone, []sv2.Verdict{{SubmitID: 1}})
	r.leave(gone)
	for id := range uint64(2 * firstSlots) {
		r.record(stays, []sv2.Verdict{{SubmitID: 2 + id}})
	}
	queued(out)
	if slices.ContainsFunc(r.contents(), func(a answer) bool { return a.verdict.SubmitID == 1 }) {
		t.Fatal("the answer is still in the ring: the test tests nothing")
	}
	if known := r.again([]uint64{1}); !known[0] {
		t.Error("the answer is not known to be on its way")
	}
	if again := queued(out); len(again) > 0 {
		t.Errorf("queued again: %v", again)
	}
	out = begunOutbox()
	r.attach(out, 2*firstSlots+1)
	if known := r.again([]uint64{1}); known[0] {
		t.Error("the next stream has an answer that nobody has")
	}
}

func TestAQueueOfIDsIsASortedSet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var q queue
		var model []uint64
		last := uint64(0)
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				last += rapid.Uint64Range(1, 3).Draw(t, "step")
				q.add(last)
				model = append(model, last)
			},
			"remove": func(t *rapid.T) {
				id := rapid.Uint64Range(0, last+1).Draw(t, "id")
				if len(model) > 0 && rapid.Bool().Draw(t, "the first") {
					id = model[0]
				}
				at, ok := slices.BinarySearch(model, id)
				if q.has(id) != ok || q.remove(id) != ok {
					t.Fatalf("%d: want %v", id, ok)
				}
				if ok {
					model = slices.Delete(model, at, at+1)
				}
			},
			"": func(t *rapid.T) {
				if !slices.Equal(q.all(), model) || q.len() != len(model) {
					t.Fatalf("%v, want %v", q.all(), model)
				}
			},
		})
	})
}
