// How a channel becomes a miner of the pool.

package sv1host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

// Methods of Stratum V1 that a miner calls.
const (
	methodSubscribe = "mining.subscribe"
	methodAuthorize = "mining.authorize"
	methodConfigure = "mining.configure"
	methodSuggest   = "mining.suggest_difficulty"
	methodPing      = "mining.ping"
)

const (
	// suggestPatience is how long an answer to mining.suggest_difficulty is waited for, which not every
	// pool gives.
	suggestPatience = time.Second
	// jobPatience is how long a first job is waited for before the pool is pinged: some give it only
	// when the miner says something.
	jobPatience = 500 * time.Millisecond
	// maxClientID is the longest name sent with mining.subscribe, in bytes.
	maxClientID = 256
)

// open introduces the miner to the pool and waits for the first job. The order matters: pools begin to
// give work once the miner is authorized, and goPool not before it says something more.
func (c *channel) open(ctx context.Context) (sv2.Opened, error) {
	options := &c.host.options
	subscribed, err := c.subscribe(ctx)
	if err != nil {
		return sv2.Opened{}, err
	}
	rolled, err := c.rolled(subscribed.extranonce2Size)
	if err != nil {
		return sv2.Opened{}, err
	}
	password := ""
	if options.Password != nil {
		password = options.Password(c.request)
	}
	granted, err := c.call(ctx, methodAuthorize, c.name, password)
	if err != nil {
		return sv2.Opened{}, err
	}
	if f := granted.fault(); f != nil {
		return sv2.Opened{}, refusalOf(methodAuthorize, f)
	}
	if err := c.configure(ctx); err != nil {
		return sv2.Opened{}, err
	}
	if wanted, known := options.suggestion(c.request.NominalHashRate, c.request.LastTarget); known {
		patience, cancel := context.WithTimeout(ctx, suggestPatience)
		_, err := c.call(patience, methodSuggest, wanted)
		cancel()
		if err != nil && patience.Err() == nil {
			return sv2.Opened{}, err
		}
	}
	if err := c.awaitJob(ctx); err != nil {
		return sv2.Opened{}, err
	}
	return c.begin(subscribed, rolled)
}

func (c *channel) subscribe(ctx context.Context) (subscription, error) {
	name := clientID(c.request.Connection)
	if make := c.host.options.ClientID; make != nil {
		name = make(c.request.Connection)
	}
	reply, err := c.call(ctx, methodSubscribe, name[:min(len(name), maxClientID)])
	if err != nil {
		return subscription{}, err
	}
	if f := reply.fault(); f != nil {
		return subscription{}, refusalOf(methodSubscribe, f)
	}
	subscribed, err := parseSubscription(reply.Result)
	if err != nil {
		return subscription{}, &sv2.Refusal{
			Reason: sv2.RefuseInternal, Detail: printable(err.Error())}
	}
	return subscribed, nil
}

// clientID is "sv2:VENDOR/FIRMWARE", with what isn't printable ASCII, and the slash that tells the two
// apart, as '?'.
func clientID(connection sv2.Connection) string {
	clean := func(name []byte) string {
		return string(bytes.ReplaceAll([]byte(printable(string(name))), []byte{'/'}, []byte{'?'}))
	}
	vendor := clean(connection.Vendor)
	return "sv2:" + vendor[:min(len(vendor), 120)] + "/" + clean(connection.Firmware)
}

// rolled is how many bytes of extranonce2 the miner rolls.
func (c *channel) rolled(size int) (int, error) {
	if c.request.Kind == sv2.Standard {
		return 0, nil
	}
	if c.request.MinExtranonceSize > size {
		return 0, &sv2.Refusal{Reason: sv2.RefuseExtranonceSize, Detail: fmt.Sprintf(
			"%d bytes asked, %d to give", c.request.MinExtranonceSize, size)}
	}
	if wanted := c.host.options.ExtranonceSize; wanted > 0 {
		return min(size, max(wanted, c.request.MinExtranonceSize)), nil
	}
	return size, nil
}

// configure asks for version rolling, and for the miner's minimum difficulty. A pool that knows nothing
// of it grants nothing.
func (c *channel) configure(ctx context.Context) error {
	options := &c.host.options
	extensions := []string{"version-rolling"}
	parameters := map[string]any{"version-rolling.mask": fmt.Sprintf("%08x", options.VersionMask)}
	if least, needed := options.atLeast(c.request.MaxTarget); needed {
		extensions = append(extensions, "minimum-difficulty")
		parameters["minimum-difficulty.value"] = least
	}
	patience, cancel := context.WithTimeout(ctx, options.OpenTimeout/2)
	defer cancel()
	reply, err := c.call(patience, methodConfigure, extensions, parameters)
	switch {
	case err != nil && ctx.Err() == nil && patience.Err() != nil:
		return nil
	case err != nil:
		return err
	case reply.fault() != nil:
		return nil
	}
	mask, err := parseMask(reply.Result)
	if err != nil {
		c.log.Warn("the pool's answer can't be read: no version rolling", "error", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mask = mask & options.VersionMask
	return nil
}

// minimumDifficulty is the parameters of mining.configure that ask for one.
func minimumDifficulty(least float64) []any {
	return []any{[]string{"minimum-difficulty"}, map[string]any{"minimum-difficulty.value": least}}
}

// awaitJob waits until there is work to begin with.
func (c *channel) awaitJob(ctx context.Context) error {
	patience := time.NewTimer(jobPatience)
	defer patience.Stop()
	for {
		select {
		case <-c.offered:
			return nil
		case <-c.gone:
			return c.failure()
		case <-ctx.Done():
			return fmt.Errorf("the pool gave no job: %w", ctx.Err())
		case <-patience.C:
			c.ask(methodPing)
			patience.Reset(2 * jobPatience)
		}
	}
}

// begin opens the channel with the newest job.
func (c *channel) begin(subscribed subscription, rolled int) (sv2.Opened, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != stateOpening || c.why != "" {
		return sv2.Opened{}, errors.New(c.why)
	}
	c.zeros = make([]byte, subscribed.extranonce2Size-rolled)
	prefix := append(bytes.Clone(subscribed.extranonce1), c.zeros...)
	c.prefix = bytes.Clone(prefix) // the carrier has the other
	c.check = sv2.NewCheck(prefix, rolled, sv2.MaxTarget, c.host.seen)
	c.check.Relay()
	job, err := c.addJob(c.newest)
	if err != nil {
		return sv2.Opened{}, err
	}
	c.newest, c.calls = nil, nil // nothing is called any more
	c.conn.trim()
	c.state = stateOpen
	return sv2.Opened{Prefix: prefix, ExtranonceSize: rolled, Target: c.told, Job: job}, nil
}

// call sends a request and waits for the reply.
func (c *channel) call(ctx context.Context, method string, params ...any) (message, error) {
	replied := make(chan message, 1)
	c.mu.Lock()
	id, err := c.sendLocked(method, params)
	if err == nil {
		c.calls[id] = replied
	}
	c.mu.Unlock()
	if err != nil {
		return message{}, err
	}
	defer func() {
		c.mu.Lock()
		delete(c.calls, id)
		c.mu.Unlock()
	}()
	select {
	case reply := <-replied:
		return reply, nil
	case <-c.gone:
	case <-ctx.Done():
		return message{}, fmt.Errorf("%s: the pool did not answer: %w", method, ctx.Err())
	}
	select { // the pool may have answered before it hung up
	case reply := <-replied:
		return reply, nil
	default:
		return message{}, c.failure()
	}
}

// ask sends a request whose reply doesn't matter.
func (c *channel) ask(method string, params ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.askLocked(method, params...)
}

// askLocked is ask for whoever holds mu.
func (c *channel) askLocked(method string, params ...any) {
	// An error is that the pool has hung up, which is seen elsewhere.
	_, _ = c.sendLocked(method, params)
}

// sendLocked sends a request; the caller holds mu.
func (c *channel) sendLocked(method string, params []any) (id uint64, err error) {
	c.lastCall++
	line, err := request(c.lastCall, method, params...)
	if err != nil {
		return 0, err
	}
	if !c.conn.send(line) {
		return 0, fmt.Errorf("%s: the pool closed the connection, or reads nothing", method)
	}
	c.lastSent = time.Now()
	return c.lastCall, nil
}
