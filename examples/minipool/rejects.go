// The books of rejected shares: junk must not fill the disk.

package main

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

// What is written of rejected shares in one second at most, some 60 KB however many there are.
const (
	rejectLines    = 8  // of one channel, line by line
	allRejectLines = 64 // of all channels, line by line
	rejectSums     = 64 // sums, one a channel: those that wait longest come first
)

// maxRejectSums is how many sums may wait; one more is written at once. A pool has fewer channels.
const maxRejectSums = 1 << 16

// rejects says which rejected shares get a line of their own, and counts the others, by channel and
// reason, until their sum is written. The zero value is ready. Safe for concurrent use.
type rejects struct {
	clock func() time.Time // nil: time.Now

	mu       sync.Mutex
	second   int64 // the present one
	lines    int   // written in it
	channels map[uint64]*channelRejects
	waiting  []*channelRejects // with something counted, longest waiting first
}

// channelRejects are those of one channel.
type channelRejects struct {
	lines int // written in the present second
	sum   rejectsLine
}

type rejectsLine struct {
	Event   string            `json:"event"`
	AtMS    int64             `json:"at_ms"`
	SinceMS int64             `json:"since_ms"` // when the first of them was counted
	Conn    uint64            `json:"conn"`
	Channel uint64            `json:"channel"`
	Count   uint64            `json:"count"`
	Reasons map[string]uint64 `json:"reasons"` // how many of each; their sum is count
	User    string            `json:"user"`
}

// take reports whether a rejected share gets a line of its own. If not it is counted, and full reports
// whether a sum must be written now to make room.
func (r *rejects) take(channel sv2.ChannelInfo, reason string) (ownLine, full bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now
	if r.clock != nil {
		now = r.clock
	}
	at := now()
	if second := at.Unix(); second != r.second || r.channels == nil {
		r.second, r.lines = second, 0
		// Only what is counted is kept from one second to the next.
		r.channels = make(map[uint64]*channelRejects)
		for _, c := range r.waiting {
			c.lines = 0
			r.channels[c.sum.Channel] = c
		}
	}
	c := r.channels[channel.ID]
	if c == nil {
		c = &channelRejects{}
		r.channels[channel.ID] = c
	}
	if c.lines < rejectLines && r.lines < allRejectLines {
		c.lines++
		r.lines++
		return true, false
	}
	if c.sum.Count == 0 {
		c.sum = rejectsLine{Event: "rejects", SinceMS: at.UnixMilli(), Conn: channel.Connection.ID,
			Channel: channel.ID, Reasons: make(map[string]uint64), User: escape(channel.UserIdentity)}
		r.waiting = append(r.waiting, c)
	}
	c.sum.Count++
	c.sum.Reasons[reason]++
	return false, len(r.waiting) > maxRejectSums
}

// writeSums writes up to n of the sums that wait. One that can't be written goes on waiting.
func (j *journal) writeSums(n int) error {
	if j == nil {
		return nil
	}
	r := &j.rejects
	r.mu.Lock()
	defer r.mu.Unlock()
	for ; n > 0 && len(r.waiting) > 0; n-- {
		c := r.waiting[0]
		c.sum.AtMS = now()
		if err := j.append(c.sum); err != nil {
			return err
		}
		c.sum = rejectsLine{}
		r.waiting[0] = nil
		r.waiting = r.waiting[1:]
	}
	return nil
}

// sumUpRejects writes each second what has been counted, until ctx ends.
func (j *journal) sumUpRejects(ctx context.Context, log *slog.Logger) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if err := j.writeSums(rejectSums); err != nil {
			log.Error("rejected shares are not in the journal yet: make room on its disk", "err", err)
		}
	}
}
