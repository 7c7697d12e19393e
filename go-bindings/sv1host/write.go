// Lines of Stratum V1: what the miner says, written. Every text is JSON of encoding/json, everything else
// is hexadecimal or a number: nothing that a miner chose can end a line.

package sv1host

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"unicode"
	"unicode/utf8"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

// firstCall is the id of the first request that is no submit. Submits have their Submit.ID, so that the
// pool's books and the sidecar's name a share alike; those are counted from 1. Pools that read numbers
// as float64 have both exact.
const firstCall = 1 << 52

// quote is a text as JSON.
func quote(text string) []byte {
	quoted, err := json.Marshal(text)
	if err != nil { // not reached: every string can be written
		return []byte(`""`)
	}
	return quoted
}

// request is a line with a method and its parameters.
func request(id uint64, method string, params ...any) ([]byte, error) {
	if params == nil {
		params = []any{}
	}
	line, err := json.Marshal(struct {
		ID     uint64 `json:"id"`
		Method string `json:"method"`
		Params []any  `json:"params"`
	}{id, method, params})
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", method, err)
	}
	return append(line, '\n'), nil
}

// appendSubmit writes mining.submit. user and job are JSON; version is the sixth parameter, which is
// left out unless it is given.
func appendSubmit(
	line []byte, submit *sv2.Submit, user, job, extranonce2 []byte, version uint32, given bool,
) []byte {
	line = append(line, `{"id":`...)
	line = strconv.AppendUint(line, submit.ID, 10)
	line = append(line, `,"method":"mining.submit","params":[`...)
	line = append(line, user...)
	line = append(line, ',')
	line = append(line, job...)
	line = append(line, `,"`...)
	line = hex.AppendEncode(line, extranonce2)
	line = append(line, `","`...)
	line = appendWord(line, submit.NTime)
	line = append(line, `","`...)
	line = appendWord(line, submit.Nonce)
	if given {
		line = append(line, `","`...)
		line = appendWord(line, version)
	}
	return append(line, `"]}`+"\n"...)
}

// appendWord writes 8 hexadecimal digits.
func appendWord(line []byte, word uint32) []byte {
	return hex.AppendEncode(line, []byte{byte(word >> 24), byte(word >> 16), byte(word >> 8), byte(word)})
}

// checkIdentity refuses what JSON can't carry as it is, and what has no place in a name: the pool may
// write it to logs and pages.
func checkIdentity(identity []byte) error {
	if !utf8.Valid(identity) {
		return &sv2.Refusal{Reason: sv2.RefuseInvalidUserIdentity, Detail: "not UTF-8"}
	}
	for _, r := range string(identity) {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return &sv2.Refusal{Reason: sv2.RefuseInvalidUserIdentity,
				Detail: fmt.Sprintf("has the control character %U", r)}
		}
	}
	return nil
}

// printable is text as miners and logs may be told: printable ASCII, at most 255 bytes.
func printable(text string) string {
	const most = 255
	clean := make([]byte, 0, min(len(text), most))
	for i := 0; i < len(text) && len(clean) < most; i++ {
		b := text[i]
		if b < 0x20 || b > 0x7e {
			b = '?'
		}
		clean = append(clean, b)
	}
	return string(clean)
}
