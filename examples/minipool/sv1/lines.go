// Lines, written.

package sv1

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

// Error codes.
const (
	codeOther         = 20
	codeJobNotFound   = 21
	codeDuplicate     = 22
	codeLowDifficulty = 23
	codeUnauthorized  = 24
	codeNotSubscribed = 25
	codeParse         = -32700
	codeMethod        = -32601
)

// fault is an error: code, text, and null for the trace that nobody wants.
type fault [3]any

func newFault(code int, text string) *fault { return &fault{code, text, nil} }

// faultOf is the error of a verdict, nil when the share is accepted.
func faultOf(reason sv2.RejectReason) *fault {
	code := codeOther
	switch reason {
	case sv2.RejectNone:
		return nil
	case sv2.RejectInvalidJobID, sv2.RejectStale:
		code = codeJobNotFound
	case sv2.RejectDuplicate:
		code = codeDuplicate
	case sv2.RejectLowDifficulty:
		code = codeLowDifficulty
	case sv2.RejectUnauthorized:
		code = codeUnauthorized
	}
	return newFault(code, reason.String())
}

// refused is the error of a channel that was not opened or updated.
func refused(err error) *fault {
	reason := sv2.RefuseInternal
	if refusal := (*sv2.Refusal)(nil); errors.As(err, &refusal) {
		reason = refusal.Reason
	}
	if reason == sv2.RefuseUnauthorized {
		return newFault(codeUnauthorized, reason.String())
	}
	return newFault(codeOther, reason.String())
}

// reply is the line that answers a request.
func reply(id json.RawMessage, result any, failed *fault) []byte {
	if len(id) == 0 {
		id = json.RawMessage("null")
	}
	return line(struct {
		ID     json.RawMessage `json:"id"`
		Result any             `json:"result"`
		Error  *fault          `json:"error"`
	}{id, result, failed})
}

// notification is the line that tells something.
func notification(method string, params ...any) []byte {
	return line(struct {
		ID     *int   `json:"id"`
		Method string `json:"method"`
		Params []any  `json:"params"`
	}{nil, method, params})
}

func line(value any) []byte {
	text, err := json.Marshal(value)
	if err != nil { // not reached: there is nothing in it that JSON doesn't have
		return nil
	}
	return append(text, '\n')
}

// notifyLine is mining.notify.
func notifyLine(job *sv2.Job, clean bool) []byte {
	path := make([]string, len(job.MerklePath))
	for i, node := range job.MerklePath {
		path[i] = hex.EncodeToString(node[:])
	}
	prevHash := job.PrevHash
	for i := 0; i < len(prevHash); i += 4 { // Stratum V1 turns the bytes of each four around
		prevHash[i], prevHash[i+1], prevHash[i+2], prevHash[i+3] =
			prevHash[i+3], prevHash[i+2], prevHash[i+1], prevHash[i]
	}
	return notification("mining.notify", strconv.FormatUint(job.ID, 16),
		hex.EncodeToString(prevHash[:]), hex.EncodeToString(job.CoinbasePrefix),
		hex.EncodeToString(job.CoinbaseSuffix), path, fmt.Sprintf("%08x", job.Version),
		fmt.Sprintf("%08x", job.NBits), fmt.Sprintf("%08x", job.MinNTime), clean)
}

// parseWord reads a number of up to 8 hexadecimal digits.
func parseWord(text string) (uint32, error) {
	word, err := strconv.ParseUint(text, 16, 32)
	if err != nil {
		return 0, fmt.Errorf("%q is no number of up to 8 hexadecimal digits", text)
	}
	return uint32(word), nil
}
