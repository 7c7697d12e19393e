// The books: every verdict is written before it is told.

package main

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

// journal is the pool's book: one JSON object a line, handed to the operating system (write(2)) before
// whatever it says is told to anybody. A pool that dies therefore has written every share that a
// miner was told is accepted; only a machine that dies can lose lines.
//
// A submit is named by the start line before it (one per process), the channel and submit_id; conn is
// the sidecar's number of the TCP connection. Of rejected shares that come in masses only the sum is
// written, and later (see rejects). Shares that were never judged, because a queue was full or their
// channel unknown, are not in the book: they are not credited either.
//
// One process at a time has a journal. A nil *journal writes nothing. Methods are safe from any goroutine.
type journal struct {
	rejects rejects

	mu      sync.Mutex
	file    *os.File
	started bool // the start line is written
}

type startLine struct {
	Event string `json:"event"`
	AtMS  int64  `json:"at_ms"`
	PID   int    `json:"pid"`
	Epoch string `json:"epoch"` // Welcome.epoch of the first session, hexadecimal
}

type stopLine struct {
	Event string `json:"event"`
	AtMS  int64  `json:"at_ms"`
}

type tipLine struct {
	Event  string `json:"event"`
	AtMS   int64  `json:"at_ms"`
	Hash   string `json:"hash"` // as explorers print it
	Height int32  `json:"height"`
}

type blockLine struct {
	Event    string `json:"event"`
	AtMS     int64  `json:"at_ms"`
	Hash     string `json:"hash"`
	Height   uint32 `json:"height"`
	Accepted *bool  `json:"accepted"` // null: nobody knows
	Detail   string `json:"detail"`   // the chain's words when it did not accept
	Channel  uint64 `json:"channel"`
	SubmitID uint64 `json:"submit_id"`
	User     string `json:"user"`
}

type creditField struct {
	Whole    uint64 `json:"whole"`
	Fraction uint32 `json:"fraction"` // in units of 2^-32
}

type verdictLine struct {
	Event    string      `json:"event"`
	AtMS     int64       `json:"at_ms"`
	Conn     uint64      `json:"conn"`
	Channel  uint64      `json:"channel"`
	SubmitID uint64      `json:"submit_id"`
	JobID    uint64      `json:"job_id"`
	Accepted bool        `json:"accepted"`
	Reason   string      `json:"reason"` // the SV2 error string; empty when accepted
	Hash     string      `json:"hash"`   // empty when there was nothing to hash
	Credit   creditField `json:"credit"`
	User     string      `json:"user"`
	Worker   string      `json:"worker"`
	Block    bool        `json:"block"`
}

type withdrawnLine struct {
	Event    string      `json:"event"`
	AtMS     int64       `json:"at_ms"`
	Conn     uint64      `json:"conn"`
	Channel  uint64      `json:"channel"`
	SubmitID uint64      `json:"submit_id"`
	Hash     string      `json:"hash"`
	Credit   creditField `json:"credit"` // what is credited no more
	User     string      `json:"user"`
}

// openJournal opens path for appending, or creates it, readable by the pool's user only, and keeps other
// processes from doing the same until it is closed. A last line that a crash cut short is removed: what
// it was about to say was told to nobody.
func openJournal(path string) (*journal, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	if err := lockJournal(file); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	if err := cutTornLine(file); err != nil {
		return nil, errors.Join(fmt.Errorf("repair the end of journal %s: %w", path, err), file.Close())
	}
	return &journal{file: file}, nil
}

// lockJournal holds the journal until it is closed or the process ends. Devices and pipes are left alone.
func lockJournal(file *os.File) error {
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return err
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	switch {
	case errors.Is(err, syscall.EWOULDBLOCK):
		return fmt.Errorf("another process writes journal %s: stop it, or choose another file",
			file.Name())
	case err != nil:
		return fmt.Errorf("lock journal %s (choose a file system with flock): %w", file.Name(), err)
	}
	return nil
}

// cutTornLine cuts a file behind its last line feed.
func cutTornLine(file *os.File) error {
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return err
	}
	end := info.Size()
	for at := end; at > 0; {
		chunk := make([]byte, min(at, 4096))
		at -= int64(len(chunk))
		if _, err := file.ReadAt(chunk, at); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		for i := len(chunk) - 1; i >= 0; i-- {
			if chunk[i] != '\n' {
				continue
			}
			if keep := at + int64(i) + 1; keep < end {
				return file.Truncate(keep)
			}
			return nil
		}
	}
	return file.Truncate(0)
}

// start says that a run of the pool begins.
func (j *journal) start(epoch []byte) error {
	if j == nil {
		return nil
	}
	err := j.append(startLine{"start", now(), os.Getpid(), hex.EncodeToString(epoch)})
	j.started = err == nil
	return err
}

// tip says on what block the pool works from now on.
func (j *journal) tip(hash sv2.Hash, height int32) error {
	return j.append(tipLine{"tip", now(), hash.String(), height})
}

// block says what became of a block candidate.
func (j *journal) block(b sv2.Block, refused error) error {
	line := blockLine{
		Event: "block", AtMS: now(), Hash: b.Hash.String(), Height: b.Job.Height,
		Channel: b.Channel.ID, SubmitID: b.SubmitID, User: escape(b.Channel.UserIdentity),
	}
	if accepted := refused == nil; !sv2.Undecided(refused) {
		line.Accepted = &accepted
	}
	if refused != nil {
		line.Detail = refused.Error()
	}
	return j.append(line)
}

// verdict says how a share was judged: in a line of its own if it is accepted or a block, and of other
// shares as long as they don't come in masses.
func (j *journal) verdict(channel sv2.ChannelInfo, submit sv2.Submit, verdict sv2.Verdict) error {
	if j == nil {
		return nil
	}
	if !verdict.Accepted() && !verdict.BlockCandidate {
		ownLine, full := j.rejects.take(channel, verdict.Reason.String())
		if full {
			return j.writeSums(1)
		}
		if !ownLine {
			return nil
		}
	}
	line := verdictLine{
		Event: "verdict", AtMS: now(), Conn: channel.Connection.ID, Channel: channel.ID,
		SubmitID: submit.ID, JobID: submit.JobID, Accepted: verdict.Accepted(),
		Credit: creditField(verdict.Credit), User: escape(channel.UserIdentity),
		Worker: escape(submit.Worker), Block: verdict.BlockCandidate,
	}
	if !verdict.Accepted() {
		line.Reason = verdict.Reason.String()
	}
	if verdict.Hash != (sv2.Hash{}) {
		line.Hash = verdict.Hash.String()
	}
	return j.append(line)
}

// withdrawn takes back what the verdict line of an accepted share said: it is not credited. If it is a
// block it stays one.
func (j *journal) withdrawn(channel sv2.ChannelInfo, verdict sv2.Verdict) error {
	return j.append(withdrawnLine{
		Event: "withdrawn", AtMS: now(), Conn: channel.Connection.ID, Channel: channel.ID,
		SubmitID: verdict.SubmitID, Hash: verdict.Hash.String(), Credit: creditField(verdict.Credit),
		User: escape(channel.UserIdentity),
	})
}

// lasts reports whether there is a journal that the next process will find.
func (j *journal) lasts() bool {
	if j == nil {
		return false
	}
	info, err := j.file.Stat()
	return err == nil && info.Mode().IsRegular()
}

// append writes one line with one write(2). When that fails nothing of the line stays in the file, so
// that the lines before and after are whole.
func (j *journal) append(line any) error {
	if j == nil {
		return nil
	}
	data, err := json.Marshal(line)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	data = append(data, '\n')
	j.mu.Lock()
	defer j.mu.Unlock()
	written, err := j.file.Write(data)
	if err == nil {
		return nil
	}
	err = fmt.Errorf("write journal: %w", err)
	if written > 0 {
		err = errors.Join(err, j.takeBack(written))
	}
	return err
}

// takeBack cuts the last bytes off the file. When they can't be taken back the file is closed: a book
// with a torn line in its middle is worse than one that ends.
func (j *journal) takeBack(written int) error {
	info, err := j.file.Stat()
	if err == nil {
		err = j.file.Truncate(info.Size() - int64(written))
	}
	if err == nil {
		return nil
	}
	return errors.Join(fmt.Errorf("a torn line is left and nothing more is written: %w", err),
		j.file.Close())
}

// close says that the run ended, if it began, and waits until everything is on the disk.
func (j *journal) close() error {
	if j == nil {
		return nil
	}
	err := j.writeSums(math.MaxInt)
	if j.started {
		err = errors.Join(err, j.append(stopLine{"stop", now()}))
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	syncErr := j.file.Sync()
	if info, statErr := j.file.Stat(); statErr == nil && info.Mode()&fs.ModeType != 0 {
		syncErr = nil // a device or pipe has no disk behind it
	}
	if err := errors.Join(err, syncErr, j.file.Close()); err != nil {
		return fmt.Errorf("close journal: %w", err)
	}
	return nil
}

// now is the time in milliseconds, as it stands in the journal.
func now() int64 { return time.Now().UnixMilli() }

// escape makes opaque bytes of a miner harmless in a journal or log: printable ASCII stays, everything
// else becomes an escape sequence of Go. strconv.Unquote, with quotes around, gives the bytes back.
func escape(opaque []byte) string {
	if !slices.ContainsFunc(opaque, func(b byte) bool {
		return b < ' ' || b > '~' || b == '"' || b == '\\'
	}) {
		return string(opaque) // as most are, and every share has one
	}
	quoted := strconv.QuoteToASCII(string(opaque))
	return quoted[1 : len(quoted)-1]
}
