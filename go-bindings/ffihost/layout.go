// Memory that the library reads and writes: the structs of gopool_sv2.h.

package ffihost

// Kinds of events, GSV2_EVENT_*.
const (
	eventSubmit      = 1
	eventMessage     = 2
	eventStreamEnded = 3
	eventRoom        = 4
	eventLog         = 5
	eventDrained     = 6
	eventFatal       = 7
	eventPublish     = 8
)

// Results, GSV2_*.
const (
	resultOK         = 0
	resultTooShort   = 4
	resultNoRecord   = 5
	resultFull       = 101
	resultStreamOver = 102
	resultConfig     = 200
)

// event is gsv2_event.
type event struct {
	kind, stream                  uint32
	id, channel, job              uint64
	nonce, ntime, version, detail uint32
	length                        uint32
	extranonceSize, workerSize    uint8
	_                             [2]byte
	extranonce, worker            [32]byte
	_                             uint64
}

// verdict is gsv2_verdict.
type verdict struct {
	submit, whole    uint64
	fraction, reason uint32
	accepted, block  uint8
	_                [6]byte
	hash             [32]byte
}

// libraryError is what a call of the library came to.
type libraryError struct {
	code int32
	text string
}

// Error is the library's text.
func (e *libraryError) Error() string { return e.text }
