// What waits to be sent: a bounded queue, and how it becomes messages.

package session

import (
	"sync"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

const (
	// maxTake is how many messages are taken at once: verdicts that come meanwhile wait no longer
	// than that many sends.
	maxTake = 64
	// maxJobChannels bounds the addressees of one Job message, so that it stays far below
	// MaxMessageSize.
	maxJobChannels = 4096
)

// entry is one thing to send that is not a verdict: a job for a channel, or a finished message.
type entry struct {
	channel uint64
	job     *sv2.Job
	message *sv2pb.SessionResponse
}

// outbox is what waits to be sent on one stream, bounded. Many goroutines push, one takes. Entries
// keep their order. Verdicts are kept apart and may overtake entries, but no entry overtakes a
// verdict that was pushed before it.
type outbox struct {
	limit int
	full  func()
	// wake holds a token while there may be something to take.
	wake chan struct{}

	mu sync.Mutex
	// begun: what the stream begins with is in front, and sending may start. greeted: its very first
	// message, Welcome, which no verdict may overtake, was taken.
	begun, greeted, closed bool
	entries                []entry
	head                   int
	verdicts               []sv2.Verdict
}

// newOutbox takes at most limit entries and verdicts together; the first one too many closes it and
// calls full, once, outside the lock.
func newOutbox(limit int, full func()) *outbox {
	return &outbox{limit: limit, full: full, wake: make(chan struct{}, 1)}
}

// begin puts first before all that waits already, whatever the limit, and lets it be taken. Once.
func (o *outbox) begin(first []entry) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return
	}
	o.begun = true
	o.limit += len(first)
	o.entries = append(first, o.entries...)
	o.signal()
}

// push appends entries in order.
func (o *outbox) push(entries ...entry) { o.add(entries, nil) }

// answer appends verdicts and keeps no reference to the slice.
func (o *outbox) answer(verdicts []sv2.Verdict) { o.add(nil, verdicts) }

func (o *outbox) add(entries []entry, verdicts []sv2.Verdict) {
	o.mu.Lock()
	if o.closed {
		o.mu.Unlock()
		return
	}
	waiting := len(o.entries) - o.head + len(o.verdicts)
	if waiting+len(entries)+len(verdicts) > o.limit {
		o.drop()
		o.mu.Unlock()
		o.full()
		return
	}
	o.entries = append(o.entries, entries...)
	o.verdicts = append(o.verdicts, verdicts...)
	o.mu.Unlock()
	o.signal()
}

func (o *outbox) signal() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// close forgets what waits and takes nothing more.
func (o *outbox) close() {
	o.mu.Lock()
	o.drop()
	o.mu.Unlock()
}

func (o *outbox) drop() {
	o.closed, o.entries, o.head, o.verdicts = true, nil, 0, nil
}

// take gives all verdicts that wait and the entries of up to maxTake messages. It reuses the memory of
// the two slices, which the caller got from it the time before.
func (o *outbox) take(
	verdicts []sv2.Verdict, entries []entry,
) (takenVerdicts []sv2.Verdict, takenEntries []entry) {
	o.mu.Lock()
	defer o.mu.Unlock()
	clear(verdicts)
	if !o.begun {
		return verdicts[:0], nil
	}
	limit := maxTake
	if o.greeted {
		takenVerdicts, o.verdicts = o.verdicts, verdicts[:0]
	} else {
		takenVerdicts, limit, o.greeted = verdicts[:0], 1, true
	}
	tail := o.entries[o.head:]
	count, messages := 0, 0
	for count < len(tail) && messages < limit {
		count += run(tail[count:])
		messages++
	}
	clear(entries)
	takenEntries = append(entries[:0], tail[:count]...)
	clear(tail[:count])
	o.head += count
	switch {
	case o.head == len(o.entries):
		o.entries, o.head = o.entries[:0], 0
	case o.head > len(o.entries)/2:
		rest := copy(o.entries, o.entries[o.head:])
		clear(o.entries[rest:])
		o.entries, o.head = o.entries[:rest], 0
	}
	return takenVerdicts, takenEntries
}

// run is how many entries at the start of a non-empty list make one message: neighbours with the very
// same job are one Job message with several addressees.
func run(entries []entry) int {
	first := entries[0].job
	if first == nil {
		return 1
	}
	n := 1
	for n < len(entries) && n < maxJobChannels && entries[n].job == first {
		n++
	}
	return n
}

// sender turns what an outbox gives into messages, in order.
type sender struct {
	// seq gives each job that is sent the next Job.seq.
	seq    func() uint64
	stream BatchStream
}

// sendAll sends verdicts first, then entries. The verdicts are changed to fit.
func (s *sender) sendAll(verdicts []sv2.Verdict, entries []entry) error {
	for len(verdicts) > 0 {
		n := min(len(verdicts), MaxBatch)
		for i := range n {
			fit(&verdicts[i])
		}
		if err := s.stream.SendVerdicts(verdicts[:n]); err != nil {
			return err
		}
		verdicts = verdicts[n:]
	}
	for len(entries) > 0 {
		n := run(entries)
		if err := s.stream.Send(s.message(entries[:n])); err != nil {
			return err
		}
		entries = entries[n:]
	}
	return nil
}

// message is the message of one run of entries.
func (s *sender) message(entries []entry) *sv2pb.SessionResponse {
	job := entries[0].job
	if job == nil {
		message := entries[0].message
		if opened := message.GetChannelOpened(); opened != nil {
			opened.Job.Seq = s.seq()
		}
		return message
	}
	channels := make([]uint64, len(entries))
	for i := range entries {
		channels[i] = entries[i].channel
	}
	m := jobMessage(job, channels)
	m.Seq = s.seq()
	return &sv2pb.SessionResponse{Message: &sv2pb.SessionResponse_Job{Job: m}}
}
