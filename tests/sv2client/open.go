// Opening channels (chapters 5.3.2 to 5.3.6).

package sv2client

import (
	"context"
	"fmt"
)

// maxExtranonce is the longest extranonce, prefix included.
const maxExtranonce = 32

// OpenRequest is what a channel is asked for with.
type OpenRequest struct {
	// User says whom the pool is to credit; at most 255 bytes, for instance ADDRESS.worker.
	User string
	// HashRate is what is expected of the channel, in hashes per second.
	HashRate float32
	// MaxTarget is the easiest target that the client takes; zero: any.
	MaxTarget Target
}

// opening is a request that waits for its answer.
type opening struct {
	kind              ChannelKind
	maxTarget         Target
	minExtranonceSize uint16
	answer            chan openAnswer // has room for the one answer
	abandoned         bool
}

type openAnswer struct {
	channel *Channel
	err     error
}

// OpenStandard opens a standard channel. [*OpenError]: the pool refuses. When ctx ends before the answer,
// a channel that is opened after all is closed at once.
func (c *Client) OpenStandard(ctx context.Context, request OpenRequest) (*Channel, error) {
	return c.open(ctx, request, &opening{kind: Standard})
}

// OpenExtended opens an extended channel with at least minExtranonceSize bytes to roll. As OpenStandard.
func (c *Client) OpenExtended(
	ctx context.Context, request OpenRequest, minExtranonceSize uint16,
) (*Channel, error) {
	wanted := &opening{kind: Extended, minExtranonceSize: minExtranonceSize}
	return c.open(ctx, request, wanted)
}

func (c *Client) open(ctx context.Context, request OpenRequest, wanted *opening) (*Channel, error) {
	if request.MaxTarget == (Target{}) {
		request.MaxTarget = MaxTarget()
	}
	wanted.maxTarget = request.MaxTarget
	wanted.answer = make(chan openAnswer, 1)
	id, err := c.await(wanted)
	if err != nil {
		return nil, fmt.Errorf("open a channel: %w", err)
	}
	common := OpenStandardMiningChannel{RequestID: id, UserIdentity: request.User,
		NominalHashRate: request.HashRate, MaxTarget: request.MaxTarget}
	var m Message = &common
	if wanted.kind == Extended {
		m = &OpenExtendedMiningChannel{common, wanted.minExtranonceSize}
	}
	if err := c.write(ctx, m); err != nil {
		c.mu.Lock()
		delete(c.opening, id) // it was not sent, or not whole
		c.mu.Unlock()
		return nil, fmt.Errorf("open a channel: %w", err)
	}
	select {
	case answer := <-wanted.answer:
		return answer.channel, answer.err
	case <-c.done:
		err = c.Err()
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	c.mu.Lock()
	wanted.abandoned = true
	c.mu.Unlock()
	select {
	case answer := <-wanted.answer: // it came in the last moment
		return answer.channel, answer.err
	default:
		return nil, fmt.Errorf("open a channel: %w", err)
	}
}

// await gives a request its number.
func (c *Client) await(wanted *opening) (uint32, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.stopped(); err != nil {
		return 0, err
	}
	c.lastRequest++
	c.opening[c.lastRequest] = wanted
	return c.lastRequest, nil
}

// stopped says why no new work is possible. Called with the lock.
func (c *Client) stopped() error {
	if c.err != nil {
		return c.err
	}
	if c.moved != nil {
		return c.moved
	}
	return nil
}

// answered takes a request out of those that wait. Called with the lock.
func (c *Client) answered(id uint32, kinds ...ChannelKind) (*opening, error) {
	wanted, ok := c.opening[id]
	if !ok {
		return nil, violation("an answer to request %d, which doesn't wait for one", id)
	}
	for _, kind := range kinds {
		if kind == wanted.kind {
			delete(c.opening, id)
			return wanted, nil
		}
	}
	return nil, violation("the answer to request %d is about another kind of channel", id)
}

// opened checks and registers a new channel. Called with the lock.
func (c *Client) opened(m *OpenExtendedMiningChannelSuccess, kind ChannelKind) error {
	wanted, err := c.answered(m.RequestID, kind)
	if err != nil {
		return err
	}
	size := len(m.ExtranoncePrefix) + int(m.ExtranonceSize)
	switch {
	case c.taken(m.ChannelID):
		return violation("channel id %d is given a second time", m.ChannelID)
	case m.Target.Harder(wanted.maxTarget) != m.Target:
		return violation("a target of %v, easier than the maximum of %v", m.Target, wanted.maxTarget)
	case m.ExtranonceSize < wanted.minExtranonceSize:
		return violation("%d bytes of extranonce instead of %d", m.ExtranonceSize,
			wanted.minExtranonceSize)
	case size > maxExtranonce:
		return violation("an extranonce of %d bytes, of which there are at most %d", size, maxExtranonce)
	}
	if err := c.group(m.GroupChannelID); err != nil {
		return err
	}
	if wanted.abandoned {
		c.retired[m.ChannelID] = struct{}{}
		c.tell(&CloseChannel{ChannelID: m.ChannelID, ReasonCode: "not wanted any more"})
		return nil
	}
	channel := &Channel{
		client: c, id: m.ChannelID, kind: kind, extranonceSize: int(m.ExtranonceSize),
		group: m.GroupChannelID, prefix: m.ExtranoncePrefix, target: m.Target,
		changed: make(chan struct{}),
	}
	c.channels[m.ChannelID] = channel
	wanted.answer <- openAnswer{channel: channel}
	return nil
}

// taken says whether an id is, or was, in use. Called with the lock.
func (c *Client) taken(id uint32) bool {
	_, open := c.channels[id]
	_, retired := c.retired[id]
	_, group := c.groups[id]
	return open || retired || group
}

// group notes a group's id. There are no groups on a connection for standard jobs, whatever number the
// pool writes there. Called with the lock.
func (c *Client) group(id uint32) error {
	if c.standardOnly() {
		return nil
	}
	_, open := c.channels[id]
	_, retired := c.retired[id]
	if open || retired {
		return violation("%d is the id of a channel, not of a group", id)
	}
	c.groups[id] = struct{}{}
	return nil
}

func (c *Client) standardOnly() bool { return c.config.Flags&RequiresStandardJobs != 0 }
