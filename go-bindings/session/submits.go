// Shares on their way to the host, the first time and again.

package session

import (
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

// closedDetail is what is said of every submit whose channel is not open, whenever it is asked about.
const closedDetail = "no such channel is open"

// takeBatch takes a batch that came as a message. Its bytes are shared, its objects are not.
func (l *link) takeBatch(batch []*sv2pb.Submit) error {
	if err := checkBatch(len(batch)); err != nil {
		return err // before there is memory for it
	}
	l.submits = l.submits[:0]
	for _, m := range batch {
		refuse := sv2.RejectInvalidShare
		if r := m.GetWouldRefuse(); r >= 0 && r <= sv2pb.RejectReason(maxKnownReject) {
			refuse = sv2.RejectReason(r)
		}
		l.submits = append(l.submits, Submit{m.GetChannelId(), sv2.Submit{
			ID: m.GetId(), JobID: m.GetJobId(),
			Nonce: m.GetNonce(), NTime: m.GetNtime(), Version: m.GetVersion(),
			Extranonce: m.GetExtranonce(), Worker: m.GetWorker(), WouldRefuse: refuse,
		}})
	}
	return l.takeSubmits(l.submits)
}

func checkBatch(submits int) error {
	if submits == 0 || submits > MaxBatch {
		return status.Errorf(codes.InvalidArgument, "SubmitBatch has %d submits, want 1 to %d",
			submits, MaxBatch)
	}
	return nil
}

// fit is why the submit is none for a channel that rolls extranonceSize bytes, if so.
func (m *Submit) fit(extranonceSize int) (sv2.RejectReason, string) {
	if n := len(m.Extranonce); n != extranonceSize {
		return sv2.RejectExtranonceSize,
			fmt.Sprintf("extranonce has %d bytes, want %d", n, extranonceSize)
	}
	if n := len(m.Worker); n > maxWorker {
		return sv2.RejectInvalidShare,
			fmt.Sprintf("worker has %d bytes, at most %d", n, maxWorker)
	}
	if m.WouldRefuse > maxKnownReject {
		m.WouldRefuse = sv2.RejectInvalidShare
	}
	return sv2.RejectNone, ""
}

// takeSubmits takes a batch. Every submit gets exactly one verdict.
func (l *link) takeSubmits(submits []Submit) error {
	if err := checkBatch(len(submits)); err != nil {
		return err
	}
	s := l.session
	again := 0
	for i := range submits {
		id := submits[i].ID
		if id <= l.lastSubmit {
			return status.Errorf(codes.InvalidArgument, "Submit.id %d after %d: ids must rise", id,
				l.lastSubmit)
		}
		l.lastSubmit = id
		if id <= l.again {
			again++
		}
	}
	if again > 0 {
		l.takeAgain(submits[:again])
		if submits = submits[again:]; len(submits) == 0 {
			return nil
		}
	}
	if s.lastSubmit == l.again {
		s.answers.caughtUp()
	}
	s.lastSubmit = l.lastSubmit
	l.handOver(submits)
	return nil
}

// handOver sorts a batch that is new by channel and hands each channel its part. What no host can judge
// is answered here.
func (l *link) handOver(submits []Submit) {
	s := l.session
	var homeless []sv2.Verdict
	homes, touched, shares := l.homes[:0], l.touched[:0], 0
	refuse := func(c *channel, id uint64, reason sv2.RejectReason, detail string) {
		s.answers.record(c, []sv2.Verdict{{SubmitID: id, Reason: reason, Detail: detail}})
	}
	inFlight := s.outstanding.Load()
	s.mu.Lock()
	for i := range submits {
		submit := &submits[i]
		id := submit.ID
		c := s.channels[submit.ChannelID]
		rolls := notOpen
		if c != nil {
			rolls = int(c.rolls.Load())
		}
		homes = append(homes, nil)
		if rolls == notOpen {
			homeless = append(homeless, closed(id))
			continue
		}
		reason, detail := submit.fit(rolls)
		if reason != sv2.RejectNone {
			refuse(c, id, reason, detail)
			continue
		}
		if inFlight >= l.hello.maxInFlight {
			refuse(c, id, sv2.RejectRateLimited, "more submits unanswered than Hello.max_in_flight")
			continue
		}
		inFlight++
		homes[i] = c
		shares++
		if c.coming++; c.coming == 1 {
			touched = append(touched, c)
		}
	}
	s.mu.Unlock()
	slab := l.room(shares)
	for _, c := range touched {
		c.gathered, slab, c.coming = slab[:0:c.coming], slab[c.coming:], 0
	}
	for i, c := range homes {
		if c != nil {
			c.gathered = append(c.gathered, submits[i].Submit)
		}
	}
	for _, c := range touched {
		batch := c.gathered
		c.gathered = nil
		if !c.submit(batch) {
			for i := range batch {
				homeless = append(homeless, closed(batch[i].ID))
			}
		}
	}
	s.answers.tell(homeless)
	clear(homes)
	clear(touched)
	l.homes, l.touched = homes, touched
}

// slabSize is how many submits share a piece of memory, if a batch doesn't take more.
const slabSize = 128

// room is memory for so many submits, which the hosts own: pieces of one slab, however many channels and
// batches they are of.
func (l *link) room(submits int) []sv2.Submit {
	if submits > len(l.slab) {
		l.slab = make([]sv2.Submit, max(submits, slabSize))
	}
	room := l.slab[:submits:submits]
	l.slab = l.slab[submits:]
	return room
}

// closed is the answer to a submit whose channel is not open.
func closed(id uint64) sv2.Verdict {
	return sv2.Verdict{SubmitID: id, Reason: sv2.RejectInvalidChannelID, Detail: closedDetail}
}

// takeAgain answers submits that came before, on an earlier stream. None reaches the host twice: either
// its verdict is known and queued again, or the host still owes it and it comes in time. What is neither
// was lost with its channel, or cancelled, or is older than what a sidecar may have unanswered.
func (l *link) takeAgain(submits []Submit) {
	s := l.session
	channels := make([]*channel, 0, len(submits))
	ids := make([]uint64, 0, len(submits))
	s.mu.Lock()
	for i := range submits {
		channels = append(channels, s.channels[submits[i].ChannelID])
		ids = append(ids, submits[i].ID)
	}
	s.mu.Unlock()
	unsettled := 0
	for i, c := range channels {
		// Asked before the ring is: a verdict that comes in between is queued on this stream.
		if c != nil && c.sink.owes(ids[i]) {
			continue
		}
		channels[unsettled], ids[unsettled] = c, ids[i]
		unsettled++
	}
	var homeless []sv2.Verdict
	for i, known := range s.answers.again(ids[:unsettled]) {
		switch c := channels[i]; {
		case known:
		case c == nil || c.sink.isOver():
			homeless = append(homeless, closed(ids[i]))
		default:
			s.answers.record(c, []sv2.Verdict{{SubmitID: ids[i], Reason: sv2.RejectUnavailable,
				Detail: "its verdict is not known any more"}})
		}
	}
	s.answers.tell(homeless)
}
