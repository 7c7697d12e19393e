// A sink that is a folder.

package events

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

// Folder is a [Sink] that keeps each source in a file of its own, named by the source's ID: one JSON object
// a line, with the names of events.proto. What is kept is on the disk. Close it in the end. One process at
// a time may use a folder.
type Folder struct {
	path string

	mu    sync.Mutex
	files map[SourceID]*file
}

// file is one source's. Its methods are called one at a time.
type file struct {
	*os.File
	have uint64
}

// OpenFolder uses a folder, which it makes if there is none, readable by its user only.
func OpenFolder(path string) (*Folder, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("events: %w", err)
	}
	return &Folder{path: path, files: make(map[SourceID]*file)}, nil
}

// Begin is Sink's.
func (f *Folder) Begin(_ context.Context, source Source) (have uint64, err error) {
	opened, err := f.file(source.ID)
	if err != nil {
		return 0, err
	}
	return opened.have, nil
}

// Keep is Sink's.
func (f *Folder) Keep(_ context.Context, source Source, events []*sv2pb.Event) error {
	opened, err := f.file(source.ID)
	if err != nil {
		return err
	}
	var lines bytes.Buffer
	for _, event := range events {
		line, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(event)
		if err != nil {
			return fmt.Errorf("events: event %d: %w", event.GetSeq(), err)
		}
		// Its writer may put spaces where it likes.
		if err := json.Compact(&lines, line); err != nil {
			return fmt.Errorf("events: event %d: %w", event.GetSeq(), err)
		}
		lines.WriteByte('\n')
	}
	if _, err := opened.Write(lines.Bytes()); err != nil {
		// Perhaps in part: what is there is read again.
		f.forget(source.ID)
		return fmt.Errorf("events: %w", err)
	}
	if err := opened.Sync(); err != nil {
		f.forget(source.ID)
		return fmt.Errorf("events: %w", err)
	}
	opened.have = events[len(events)-1].GetSeq()
	return nil
}

// Close closes the files.
func (f *Folder) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var errs []error
	for _, opened := range f.files {
		errs = append(errs, opened.Close())
	}
	f.files = nil
	return errors.Join(errs...)
}

// file gives a source's, opened.
func (f *Folder) file(id SourceID) (*file, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.files == nil {
		return nil, errors.New("events: the folder is closed")
	}
	if opened := f.files[id]; opened != nil {
		return opened, nil
	}
	opened, err := openFile(filepath.Join(f.path, id.String()+".jsonl"))
	if err != nil {
		return nil, fmt.Errorf("events: %w", err)
	}
	f.files[id] = opened
	return opened, nil
}

func (f *Folder) forget(id SourceID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if opened := f.files[id]; opened != nil {
		_ = opened.Close() // it has failed already
		delete(f.files, id)
	}
}

// openFile opens a file for appending. A last line that a crash cut short is removed: it was not
// acknowledged.
func openFile(path string) (*file, error) {
	opened, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	have, whole, err := lastEvent(opened)
	if err == nil {
		err = opened.Truncate(whole)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), opened.Close())
	}
	return &file{File: opened, have: have}, nil
}

// lastEvent finds the number of the last event, and how long the file is up to its end.
func lastEvent(reader io.Reader) (seq uint64, whole int64, err error) {
	lines := bufio.NewReader(reader)
	var last []byte
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return 0, 0, err
		}
		last, whole = line, whole+int64(len(line))
	}
	if last == nil {
		return 0, 0, nil
	}
	var event sv2pb.Event
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(last, &event); err != nil {
		return 0, 0, fmt.Errorf("its last line is no event: %w", err)
	}
	return event.GetSeq(), whole, nil
}
