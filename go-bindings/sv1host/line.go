// Lines of Stratum V1: what the pool says, read.

package sv1host

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

// message is a line of the pool: a reply, which has no method, or a notification.
type message struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  json.RawMessage `json:"error"`
}

// parseMessage reads a line.
func parseMessage(line []byte) (message, error) {
	var m message
	if err := json.Unmarshal(line, &m); err != nil {
		return message{}, fmt.Errorf("not a JSON object of Stratum V1: %w", err)
	}
	return m, nil
}

// id is the number of the request that a reply is for.
func (m *message) id() (uint64, bool) {
	// Some pools read a number as a string and give it back like that, and some as a float: 1.000001e+06.
	text := strings.Trim(string(m.ID), `"`)
	if id, err := strconv.ParseUint(text, 10, 64); err == nil {
		return id, true
	}
	number, err := strconv.ParseFloat(text, 64)
	if err != nil || !(number >= 0 && number <= 1<<53) || number != math.Trunc(number) {
		return 0, false
	}
	return uint64(number), true
}

// acceptedID is the number in a reply that grants a request, as pools that are written in Go or C write it;
// false for everything else, which has to be read with care.
func acceptedID(line []byte) (id uint64, accepted bool) {
	rest, ok := bytes.CutPrefix(line, []byte(`{"id":`))
	if !ok {
		return 0, false
	}
	digits := 0
	for digits < len(rest) && digits < 19 && rest[digits]-'0' < 10 {
		id = id*10 + uint64(rest[digits]-'0')
		digits++
	}
	return id, digits > 0 && string(bytes.TrimSuffix(rest[digits:], []byte{'\n'})) ==
		`,"result":true,"error":null}`
}

// acceptedShare is acceptedID of a share.
func acceptedShare(line []byte) (id uint64, accepted bool) {
	id, accepted = acceptedID(line)
	return id, accepted && id <= firstCall
}

// fault is the error of a reply.
type fault struct {
	code int // 0 when the pool gave none
	text string
}

func (f *fault) Error() string {
	if f.code == 0 {
		return strconv.Quote(f.text)
	}
	return fmt.Sprintf("error %d, %q", f.code, f.text)
}

// fault is nil when the request was granted. A refusal without an error has an empty text.
func (m *message) fault() *fault {
	if raw := bytes.TrimSpace(m.Error); len(raw) > 0 && !bytes.Equal(raw, []byte("null")) {
		return parseFault(raw)
	}
	switch string(bytes.TrimSpace(m.Result)) {
	case "", "false", "null":
		return &fault{}
	}
	return nil
}

// parseFault takes [code, "text", traceback], as Stratum has it, {"code": …, "message": …}, as JSON-RPC
// has it, and anything else as text.
func parseFault(raw []byte) *fault {
	var parts []json.RawMessage
	if json.Unmarshal(raw, &parts) == nil && len(parts) >= 2 {
		f := &fault{}
		if json.Unmarshal(parts[0], &f.code) == nil && json.Unmarshal(parts[1], &f.text) == nil {
			return f
		}
	}
	var object struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	}
	if json.Unmarshal(raw, &object) == nil && object.Message != "" {
		return &fault{object.Code, object.Message}
	}
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return &fault{text: text}
	}
	return &fault{text: string(raw)}
}

// subscription is the result of mining.subscribe.
type subscription struct {
	extranonce1     []byte
	extranonce2Size int
}

// parseSubscription reads [subscriptions, extranonce1, extranonce2 size].
func parseSubscription(result json.RawMessage) (subscription, error) {
	var parts []json.RawMessage
	if err := json.Unmarshal(result, &parts); err != nil {
		return subscription{}, fmt.Errorf("result of mining.subscribe: %w", err)
	}
	if len(parts) < 3 {
		return subscription{}, fmt.Errorf("result of mining.subscribe has %d parts: 3", len(parts))
	}
	var text string
	var s subscription
	if err := json.Unmarshal(parts[1], &text); err != nil {
		return subscription{}, fmt.Errorf("extranonce1: %w", err)
	}
	if err := json.Unmarshal(parts[2], &s.extranonce2Size); err != nil {
		return subscription{}, fmt.Errorf("size of extranonce2: %w", err)
	}
	var err error
	if s.extranonce1, err = hex.DecodeString(text); err != nil {
		return subscription{}, fmt.Errorf("extranonce1: %w", err)
	}
	if len(s.extranonce1) < 1 || s.extranonce2Size < 1 ||
		s.extranonce2Size > maxExtranonce-len(s.extranonce1) {
		return subscription{}, fmt.Errorf("extranonce1 of %d bytes and extranonce2 of %d: SV2 takes at "+
			"least 1 of each and %d together", len(s.extranonce1), s.extranonce2Size, maxExtranonce)
	}
	return s, nil
}

// maxExtranonce is the longest extranonce that SV2 can carry (SV2 spec 5.3.5).
const maxExtranonce = 32

// notify is a mining.notify, as the work of a job.
type notify struct {
	id                    string
	prevHash              sv2.Hash
	coinb1, coinb2        []byte
	path                  []sv2.Hash
	version, nbits, ntime uint32
}

// parseNotify reads the parameters: id, prev-hash, coinb1, coinb2, branches, version, nbits, ntime and
// clean_jobs, which is not looked at.
func parseNotify(params json.RawMessage) (notify, error) {
	var n notify
	var parts []json.RawMessage
	if err := json.Unmarshal(params, &parts); err != nil {
		return notify{}, fmt.Errorf("mining.notify: %w", err)
	}
	if len(parts) < 8 {
		return notify{}, fmt.Errorf("mining.notify has %d parameters: 9", len(parts))
	}
	var prevHash, coinb1, coinb2, version, nbits, ntime string
	var branches []string
	var faults []error
	for i, into := range []any{&n.id, &prevHash, &coinb1, &coinb2, &branches, &version, &nbits, &ntime} {
		if err := json.Unmarshal(parts[i], into); err != nil {
			faults = append(faults, fmt.Errorf("mining.notify, parameter %d: %w", i+1, err))
		}
	}
	if len(faults) > 0 {
		return notify{}, errors.Join(faults...)
	}
	read := func(name string, err error) {
		if err != nil {
			faults = append(faults, fmt.Errorf("mining.notify, %s: %w", name, err))
		}
	}
	var err error
	n.prevHash, err = parseHash(prevHash)
	read("prev-hash", err)
	swapWords(&n.prevHash)
	n.coinb1, err = parsePart(coinb1)
	read("coinb1", err)
	n.coinb2, err = parsePart(coinb2)
	read("coinb2", err)
	n.version, err = parseWord(version)
	read("version", err)
	n.nbits, err = parseWord(nbits)
	read("nbits", err)
	n.ntime, err = parseWord(ntime)
	read("ntime", err)
	for _, branch := range branches {
		hash, err := parseHash(branch)
		read("branch", err)
		n.path = append(n.path, hash)
	}
	return n, errors.Join(faults...)
}

// parseHash reads 32 bytes as they stand.
func parseHash(text string) (hash sv2.Hash, err error) {
	if len(text) != 2*len(hash) {
		return hash, fmt.Errorf("%d hexadecimal digits: %d", len(text), 2*len(hash))
	}
	_, err = hex.Decode(hash[:], []byte(text))
	return hash, err
}

// parsePart reads a part of the coinbase, which must not be empty.
func parsePart(text string) ([]byte, error) {
	part, err := hex.DecodeString(text)
	if err == nil && len(part) == 0 {
		err = errors.New("empty")
	}
	return part, err
}

// swapWords turns the bytes of each 4 around: Stratum V1 has the prev-hash like that.
func swapWords(hash *sv2.Hash) {
	for i := 0; i < len(hash); i += 4 {
		hash[i], hash[i+1], hash[i+2], hash[i+3] = hash[i+3], hash[i+2], hash[i+1], hash[i]
	}
}

// parseWord reads a number of up to 8 hexadecimal digits.
func parseWord(text string) (uint32, error) {
	word, err := strconv.ParseUint(text, 16, 32)
	if err != nil {
		return 0, errors.New("not a number of up to 8 hexadecimal digits")
	}
	return uint32(word), nil
}

// parseDifficulty reads the parameters of mining.set_difficulty.
func parseDifficulty(params json.RawMessage) (float64, error) {
	var parts []float64
	if err := json.Unmarshal(params, &parts); err != nil {
		return 0, fmt.Errorf("mining.set_difficulty: %w", err)
	}
	if len(parts) == 0 || !(parts[0] > 0) || math.IsInf(parts[0], 1) {
		return 0, fmt.Errorf("mining.set_difficulty of %v", parts)
	}
	return parts[0], nil
}

// parseText reads a parameter list that begins with a text.
func parseText(params json.RawMessage) (string, error) {
	var parts []json.RawMessage
	if err := json.Unmarshal(params, &parts); err != nil {
		return "", err
	}
	if len(parts) == 0 {
		return "", errors.New("no parameter")
	}
	var text string
	err := json.Unmarshal(parts[0], &text)
	return text, err
}

// parseMask reads the result of mining.configure: the version bits that may be rolled, 0 for none.
func parseMask(result json.RawMessage) (uint32, error) {
	var granted struct {
		Rolling bool   `json:"version-rolling"`
		Mask    string `json:"version-rolling.mask"`
	}
	if err := json.Unmarshal(result, &granted); err != nil {
		return 0, fmt.Errorf("result of mining.configure: %w", err)
	}
	if !granted.Rolling {
		return 0, nil
	}
	mask, err := parseWord(granted.Mask)
	if err != nil {
		return 0, fmt.Errorf("version-rolling.mask: %w", err)
	}
	return mask, nil
}

// heightIn is the height that a coinbase pushes first (BIP34), 0 when it can't be read. coinb1 is the
// coinbase up to extranonce1.
func heightIn(coinb1 []byte) uint32 {
	const script = 4 + 1 + 36 + 1 // version, one input, its outpoint, the length of its script
	if len(coinb1) <= script {
		return 0
	}
	pushed := coinb1[script:]
	switch size := int(pushed[0]); {
	case size >= 0x51 && size <= 0x60: // OP_1 to OP_16
		return uint32(size - 0x50)
	case size >= 1 && size <= 4 && size < len(pushed):
		var height uint32
		for i, b := range pushed[1 : size+1] {
			height |= uint32(b) << (8 * i)
		}
		return height
	}
	return 0
}
