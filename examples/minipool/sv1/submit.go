// Shares.

package sv1

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"strconv"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

// maxWaiting is how many shares of a connection may wait for their verdicts.
const maxWaiting = 4096

// submit hands a share to the host: user, job, extranonce2, ntime, nonce and, where the version is
// rolled, its bits. What the host can judge it judges; only what is no share at all is refused here.
func (c *conn) submit(id json.RawMessage, params []json.RawMessage) *fault {
	if c.channel == nil {
		return newFault(codeUnauthorized, "unauthorized")
	}
	var fields [6]string
	if len(params) < 5 || len(params) > len(fields) {
		return newFault(codeOther, "invalid params")
	}
	for i, param := range params {
		if json.Unmarshal(param, &fields[i]) != nil {
			return newFault(codeOther, "invalid params")
		}
	}
	if fields[0] != c.user {
		return newFault(codeUnauthorized, "unauthorized")
	}
	job, err := strconv.ParseUint(fields[1], 16, 64)
	if err != nil {
		return faultOf(sv2.RejectInvalidJobID)
	}
	extranonce, err := hex.DecodeString(fields[2])
	if err != nil {
		return faultOf(sv2.RejectExtranonceSize)
	}
	ntime, err1 := parseWord(fields[3])
	nonce, err2 := parseWord(fields[4])
	if err := errors.Join(err1, err2); err != nil {
		return faultOf(sv2.RejectInvalidShare)
	}
	submit := sv2.Submit{JobID: job, Nonce: nonce, NTime: ntime, Extranonce: extranonce}
	c.mu.Lock()
	submit.Version = c.versions[job]
	c.mu.Unlock()
	if len(params) == len(fields) {
		bits, err := parseWord(fields[5])
		if err != nil {
			return faultOf(sv2.RejectInvalidShare)
		}
		if c.mask == 0 {
			return faultOf(sv2.RejectVersionRolling)
		}
		// Bits outside the mask stay, for the host to refuse.
		submit.Version = submit.Version&^c.mask | bits
	}
	if !c.expect(id, &submit) {
		return faultOf(sv2.RejectRateLimited)
	}
	c.channel.Submit([]sv2.Submit{submit})
	return nil
}

// expect names a submit and notes what it is to be answered with; false when too many wait. The name is
// the request's id where those rise, so that a miner's books and the pool's name a share alike.
func (c *conn) expect(id json.RawMessage, submit *sv2.Submit) bool {
	const largest = 1 << 53 // that is exact everywhere
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.replies) >= maxWaiting {
		return false
	}
	given, err := strconv.ParseUint(string(id), 10, 64)
	if err != nil || given > largest {
		given = 0
	}
	c.lastID = max(c.lastID+1, given)
	submit.ID = c.lastID
	c.replies[submit.ID] = append(json.RawMessage(nil), id...)
	return true
}
