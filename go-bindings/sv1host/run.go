// What the pool writes, read and acted on.

package sv1host

import (
	"bytes"
	"math"
	"strings"
	"time"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

const (
	// turnShares is how many shares are judged before the pool's lines are looked at again.
	turnShares = 32
	// keptBuffer is the largest buffer that an idle channel keeps, in bytes: two of them. A job needs more,
	// and comes now and then.
	keptBuffer = 512
	// maxTick is how often at least pings and timeouts are looked at.
	maxTick = 15 * time.Second
)

// newline ends each line.
var newline = []byte{'\n'}

// reader cuts what the pool writes into lines.
type reader struct {
	spare []byte // for memoryConn.take
	rest  []byte // a line that has not ended yet
}

// run judges shares and takes what the pool writes, until the channel is over.
func (c *channel) run() {
	options := &c.host.options
	tick := max(min(options.PingEvery/4, options.SubmitTimeout/4, maxTick), time.Millisecond)
	timer := time.NewTimer(tick)
	defer timer.Stop()
	defer c.conn.hangUp()
	var r reader
	left := false
	for {
		select {
		case <-c.wake:
		case <-timer.C:
			c.look()
			timer.Reset(tick)
		}
		for busy := true; busy; {
			data, ended := c.conn.take(r.spare, len(r.rest) > 0)
			c.takeLines(&r, data)
			busy = c.judgeTurn() || len(data) > 0
			if ended && !busy && !left {
				left = true
				c.poolLeft()
			}
		}
		if c.isOver() {
			return
		}
	}
}

// isOver reports whether the channel is closed and all that was taken before went to the pool.
func (c *channel) isOver() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state == stateClosed && len(c.queue) == 0
}

// takeLines takes the whole lines in data and keeps the rest.
func (c *channel) takeLines(r *reader, data []byte) {
	w := scratches.Get().(*scratch)
	defer w.release()
	for rest := data; len(rest) > 0; {
		line, after, whole := bytes.Cut(rest, newline)
		rest = after
		if !whole || len(r.rest) > 0 {
			r.rest = append(r.rest, line...)
			if len(r.rest) > maxLine {
				w.verdicts = c.flush(w.verdicts)
				c.giveUp(sv2.KickChannel, "the pool wrote a line without end")
				r.rest = nil
				break
			}
			if !whole {
				break
			}
			line = r.rest
			r.rest = r.rest[:0]
		}
		if line = bytes.TrimSpace(line); len(line) > 0 {
			w.verdicts = c.takeLine(line, w.verdicts)
		}
	}
	if cap(data) <= keptBuffer {
		r.spare = data
	} else {
		r.spare = nil
	}
	w.verdicts = c.flush(w.verdicts)
}

// flush tells the verdicts of replies that came together, and leaves none. It comes before anything that
// may end the channel: what the pool has accepted is in its books.
func (c *channel) flush(verdicts []sv2.Verdict) []sv2.Verdict {
	if len(verdicts) == 0 {
		return verdicts
	}
	farewell, away := sentAway(verdicts)
	c.mu.Lock()
	c.tell(verdicts)
	c.mu.Unlock()
	if away {
		c.giveUp(sv2.KickChannel, farewell)
	}
	clear(verdicts)
	return verdicts[:0]
}

// sentAway reports whether a miner is told "unauthorized", and with which words: the pool takes nothing from
// him any more.
func sentAway(verdicts []sv2.Verdict) (farewell string, away bool) {
	for i := range verdicts {
		if verdicts[i].Reason == sv2.RejectUnauthorized {
			return verdicts[i].Detail, true
		}
	}
	return "", false
}

// takeLine takes one line. What can't be understood is logged: the miner is better off with what he has.
func (c *channel) takeLine(line []byte, verdicts []sv2.Verdict) []sv2.Verdict {
	if id, accepted := acceptedShare(line); accepted {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.takeGranted(id, verdicts)
	}
	m, err := parseMessage(line)
	if err == nil {
		if m.Method != "" {
			verdicts = c.flush(verdicts)
		}
		switch m.Method {
		case "":
			return c.takeReply(&m, verdicts)
		case "mining.notify":
			err = c.takeNotify(&m)
		case "mining.set_difficulty":
			err = c.takeDifficulty(&m)
		case "mining.set_version_mask":
			err = c.takeMask(&m)
		case "client.show_message":
			err = c.takeAnnouncement(&m)
		case "mining.set_extranonce":
			// Jobs already given have another one in their coinbase, and prefixes are for good.
			c.giveUp(sv2.KickReconnect, "the pool changed the extranonce")
		case "client.reconnect":
			// Where to is a Stratum V1 port.
			c.giveUp(sv2.KickReconnect, "the pool asks to reconnect")
		}
	}
	if err != nil {
		c.log.Error("the pool wrote a line that can't be used; it was dropped", "error", err)
	}
	return verdicts
}

// takeDifficulty is in force with the next job.
func (c *channel) takeDifficulty(m *message) error {
	difficulty, err := parseDifficulty(m.Params)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.difficulty = difficulty
	return nil
}

// takeMask is in force with the next job.
func (c *channel) takeMask(m *message) error {
	text, err := parseText(m.Params)
	if err != nil {
		return err
	}
	mask, err := parseWord(text)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mask = mask & c.host.options.VersionMask
	return nil
}

// takeNotify gives the miner the job, or keeps it for the open.
func (c *channel) takeNotify(m *message) error {
	n, err := parseNotify(m.Params)
	if err != nil {
		return err
	}
	options := &c.host.options
	if options.IsTip != nil && !options.IsTip(n.prevHash) {
		c.log.Debug("the pool gave a job of another tip; it was dropped", "prev_hash", n.prevHash)
		return nil
	}
	var assigned float64
	known := false
	if options.AssignedDifficulty != nil {
		assigned, known = options.AssignedDifficulty(c.conn, n.id)
		known = known && assigned > 0 && !math.IsInf(assigned, 1)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !known {
		assigned = c.difficulty
	}
	given := &offer{notify: n, difficulty: assigned}
	switch c.state {
	case stateOpening:
		c.newest = given
		select {
		case c.offered <- struct{}{}:
		default:
		}
	case stateOpen:
		before := c.told
		job, err := c.addJob(given)
		if err != nil {
			return err
		}
		if c.told != before {
			c.sink.Target(c.told)
		}
		c.sink.Job(job)
	}
	return nil
}

// addJob makes a job of the pool's one of the channel's, with its target; the caller holds mu and tells
// the miner. An error says why it can't be worked on; nothing has changed then.
func (c *channel) addJob(given *offer) (*sv2.Job, error) {
	options := &c.host.options
	job := &sv2.Job{
		ID:             c.lastJob + 1,
		PrevHash:       given.prevHash,
		NBits:          given.nbits,
		Version:        given.version,
		VersionMask:    c.mask & sv2.RollableVersionBits,
		MinNTime:       given.ntime,
		MerklePath:     given.path,
		CoinbasePrefix: given.coinb1,
		CoinbaseSuffix: given.coinb2,
		StaleRule:      options.StaleRule,
		Height:         heightIn(given.coinb1),
	}
	if ahead := uint64(options.MaxNTimeAhead / time.Second); ahead > 0 {
		job.MaxNTime = uint32(min(uint64(given.ntime)+ahead, math.MaxUint32))
	}
	present := c.check.Target()
	c.check.SetTarget(c.bound(given.difficulty))
	if err := c.check.AddJob(job); err != nil {
		c.check.SetTarget(present)
		return nil, err
	}
	c.lastJob = job.ID
	c.given = given.difficulty
	c.told, _ = c.check.JobTarget(job.ID)
	c.names[job.ID] = quote(given.id)
	for id := range c.names {
		if c.check.Job(id) == nil {
			delete(c.names, id)
		}
	}
	return job, nil
}

// takeAnnouncement reads what the pool says in words.
func (c *channel) takeAnnouncement(m *message) error {
	text, err := parseText(m.Params)
	if err != nil {
		return err
	}
	c.log.Info("the pool says", "message", printable(text))
	said := announcementIn(text)
	if said == announceNothing {
		return nil
	}
	c.mu.Lock()
	c.announced = said
	opening := c.state == stateOpening
	c.mu.Unlock()
	if said == announceBan && !opening { // an open hears of it by a refusal
		c.giveUp(sv2.KickChannel, strings.TrimSpace(text))
	}
	return nil
}

// poolLeft follows the end of the connection from the pool's side.
func (c *channel) poolLeft() {
	if c.conn.overflowed() {
		c.giveUp(sv2.KickChannel, "the pool writes more than can be taken")
		return
	}
	c.mu.Lock()
	announced := c.announced
	if announced == announceRestart && c.state == stateOpen {
		c.state = stateSuspended
		c.loseAll("the pool is restarting")
		c.suspended = time.AfterFunc(c.host.options.SuspendFor, func() {
			c.giveUp(sv2.KickReconnect, "the pool has restarted")
		})
		c.mu.Unlock()
		return
	}
	c.mu.Unlock()
	switch announced {
	case announcePause:
		c.giveUp(sv2.KickConnection, "the pool has no work")
	case announceBan:
		c.giveUp(sv2.KickChannel, "banned")
	default:
		c.giveUp(sv2.KickChannel, "the pool closed the connection")
	}
}

// look pings the pool, and gives up on shares that it doesn't answer.
func (c *channel) look() {
	options := &c.host.options
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == stateClosed || c.state == stateSuspended {
		return
	}
	if now.Sub(c.lastSent) >= options.PingEvery {
		c.askLocked(methodPing)
	}
	var verdicts []sv2.Verdict
	for id, s := range c.pending {
		if !s.verdict.BlockCandidate && now.Sub(s.at) >= options.SubmitTimeout {
			delete(c.pending, id)
			verdicts = c.lose(verdicts, s, "the pool did not answer")
			s.release()
		}
	}
	c.tell(verdicts)
}
