// What miners ask for.

package sv1

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

// take answers one request. An error ends the connection.
func (c *conn) take(ctx context.Context, line []byte) error {
	var request struct {
		ID     json.RawMessage   `json:"id"`
		Method string            `json:"method"`
		Params []json.RawMessage `json:"params"`
	}
	if err := json.Unmarshal(line, &request); err != nil {
		c.reply(nil, nil, newFault(codeParse, "parse error"))
		return fmt.Errorf("a line that is no request: %w", err)
	}
	var result any
	var fault *fault
	switch request.Method {
	case "mining.submit":
		if fault = c.submit(request.ID, request.Params); fault == nil {
			return nil // answered with the verdict
		}
		result = false
	case "mining.subscribe":
		result, fault = c.subscribe(request.Params)
	case "mining.authorize":
		return c.authorize(ctx, request.ID, request.Params)
	case "mining.configure":
		result, fault = c.configure(ctx, request.Params)
	case "mining.suggest_difficulty":
		result, fault = c.suggest(ctx, request.Params)
	case "mining.extranonce.subscribe":
		result = true // it never changes
	case "mining.ping":
		result = "pong"
	case "": // an answer, to nothing that was asked
		return nil
	default:
		fault = newFault(codeMethod, "method not found")
	}
	c.reply(request.ID, result, fault)
	return nil
}

// reply answers a request.
func (c *conn) reply(id json.RawMessage, result any, fault *fault) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.put(reply(id, result, fault))
}

// subscribe hands out extranonce1.
func (c *conn) subscribe(params []json.RawMessage) (any, *fault) {
	if c.prefix != nil {
		return nil, newFault(codeOther, "already subscribed")
	}
	if len(params) > 0 {
		_ = json.Unmarshal(params[0], &c.agent) // some send null
	}
	prefix, err := c.takePrefix()
	if err != nil {
		return nil, newFault(codeOther, err.Error())
	}
	c.prefix = prefix
	id := hex.EncodeToString(prefix)
	return []any{[][]string{{"mining.set_difficulty", id}, {"mining.notify", id}}, id,
		c.port.options.ExtranonceSize}, nil
}

// takePrefix is the prefix that who is behind the connection had before, if that is free, or a new one.
func (c *conn) takePrefix() ([]byte, error) {
	var wanted []byte
	if request, ok := c.requestOf(); ok && len(request.WantedPrefix) >= sv2.DefaultPrefixSize {
		wanted = request.WantedPrefix[:sv2.DefaultPrefixSize]
	}
	return c.port.options.Prefixes.ReservePrefix(wanted)
}

func (c *conn) requestOf() (sv2.OpenRequest, bool) {
	if c.port.options.RequestOf == nil {
		return sv2.OpenRequest{}, false
	}
	return c.port.options.RequestOf(c.Conn)
}

// authorize opens the channel. The answer comes before the first difficulty and job.
func (c *conn) authorize(ctx context.Context, id json.RawMessage, params []json.RawMessage) error {
	var user string
	switch {
	case c.prefix == nil:
		c.reply(id, nil, newFault(codeNotSubscribed, "not subscribed"))
		return nil
	case len(params) == 0 || json.Unmarshal(params[0], &user) != nil:
		c.reply(id, nil, newFault(codeOther, "invalid params"))
		return nil
	case c.channel != nil && user == c.user:
		c.reply(id, true, nil)
		return nil
	case c.channel != nil:
		c.reply(id, nil, newFault(codeUnauthorized, "one user for each connection"))
		return nil
	}
	c.mu.Lock()
	c.held = true
	c.mu.Unlock()
	channel, opened, err := c.port.options.Host.OpenChannel(ctx, c.openRequest(user), c)
	if err == nil && !bytes.Equal(opened.Prefix, c.prefix) {
		channel.Close("the extranonce was taken")
		err = errors.New("the host gave another extranonce than it had set aside")
	}
	if err != nil {
		c.mu.Lock()
		c.held, c.later = false, nil
		c.put(reply(id, nil, refused(err)))
		c.mu.Unlock()
		return fmt.Errorf("authorize: %w", err)
	}
	c.user, c.channel = user, channel
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = false
	c.put(reply(id, true, nil))
	c.put(notification("mining.set_difficulty", opened.Target.FloatDifficulty()))
	c.notify(opened.Job)
	c.put(c.later)
	c.later = nil
	return nil
}

// openRequest is what the miner has said so far.
func (c *conn) openRequest(user string) sv2.OpenRequest {
	request := sv2.OpenRequest{
		Kind: sv2.Extended, UserIdentity: []byte(user), MaxTarget: c.maxTarget(),
		MinExtranonceSize: c.port.options.ExtranonceSize, WantedPrefix: c.prefix,
	}
	if c.wanted > 0 {
		request.LastTarget = sv2.TargetFromDifficulty(c.wanted)
	}
	if behind, ok := c.requestOf(); ok {
		request.Connection, request.PayoutKey = behind.Connection, behind.PayoutKey
		request.Reopen = behind.Reopen
		return request
	}
	request.Connection = sv2.Connection{ID: c.port.lastID.Add(1),
		RemoteAddress: c.RemoteAddr().String(), Vendor: []byte(c.agent[:min(len(c.agent), 255)])}
	return request
}

// configure grants what it knows of BIP310.
func (c *conn) configure(ctx context.Context, params []json.RawMessage) (any, *fault) {
	var extensions []string
	var options struct {
		Mask  string  `json:"version-rolling.mask"`
		Least float64 `json:"minimum-difficulty.value"`
	}
	if len(params) < 1 || json.Unmarshal(params[0], &extensions) != nil ||
		len(params) > 1 && json.Unmarshal(params[1], &options) != nil {
		return nil, newFault(codeOther, "invalid params")
	}
	result := map[string]any{}
	for _, extension := range extensions {
		switch extension {
		case "version-rolling":
			mask, err := parseWord(options.Mask)
			if err != nil {
				mask = sv2.RollableVersionBits
			}
			c.mask = mask & sv2.RollableVersionBits
			result[extension] = true
			result["version-rolling.mask"] = fmt.Sprintf("%08x", c.mask)
		case "minimum-difficulty":
			result[extension] = c.setLeast(ctx, options.Least)
		default:
			result[extension] = false
		}
	}
	return result, nil
}

// setLeast sets the lowest difficulty that the miner takes; false when the pool can't.
func (c *conn) setLeast(ctx context.Context, least float64) bool {
	before := c.least
	c.least = least
	hardest := c.port.options.Host.Limits().Hardest
	ok := least > 0 && !math.IsInf(least, 1) && c.maxTarget().Cmp(hardest) >= 0 && c.update(ctx) == nil
	if !ok {
		c.least = before
	}
	return ok
}

// suggest takes the difficulty that the miner wants.
func (c *conn) suggest(ctx context.Context, params []json.RawMessage) (any, *fault) {
	var wanted float64
	if len(params) < 1 || json.Unmarshal(params[0], &wanted) != nil || !(wanted > 0) {
		return nil, newFault(codeOther, "invalid params")
	}
	c.wanted = wanted
	if err := c.update(ctx); err != nil {
		return nil, refused(err)
	}
	return true, nil
}

// update tells the host, if there is a channel yet.
func (c *conn) update(ctx context.Context) error {
	if c.channel == nil {
		return nil
	}
	return c.channel.Update(ctx,
		sv2.UpdateRequest{NominalHashRate: c.hashRate(), MaxTarget: c.maxTarget()})
}
