package main

import (
	"bytes"
	"errors"
	"fmt"
	"go/format"
	"go/parser"
	"go/token"
	"slices"
	"strings"
)

// edit is one insertion into one file of goPool's.
type edit struct {
	file   string
	offset int    // bytes from the file's start
	text   string // with the file's own line endings
	after  []byte // the whole file with it
}

// hookEdit makes the edit that calls our layer.
func (p *pool) hookEdit(at *anchor, v values) (edit, error) {
	offset, err := p.offset(at)
	if err != nil {
		return edit{}, err
	}
	text, err := hookText(v)
	if err != nil {
		return edit{}, err
	}
	before := p.files[at.file]
	if usesCRLF(before, offset) {
		text = strings.ReplaceAll(text, "\n", "\r\n")
	}
	after := bytes.Join([][]byte{before[:offset], []byte(text), before[offset:]}, nil)
	return edit{at.file, offset, text, after}, checkEdit(at.file, before, after)
}

// hookText is the call as gofmt has it one level deep.
func hookText(v values) (string, error) {
	lines := []string{
		"package p", "func f() {",
		markBegin + ": Stratum V2, put here by gopool-sv2-install (`revert` takes it out again).",
		startFunc + "(" + v.ctx + ", " + poolType + "{",
		"jobMgr: " + v.jobMgr + ",",
		"registry: " + v.registry + ",",
		"reconnectLimiter: " + v.reconnectLimiter + ",",
		"connWg: " + v.connWg + ",",
		"config: func() Config { return " + v.config + " },",
		"newJobManager: func(" + cfgParam + " Config) *JobManager {",
		"return NewJobManager(" + v.newJobManager + ")", "},",
		"newMinerConn: func(" + connParam + " net.Conn, " + jobsParam + " *JobManager, " +
			cfgParam + " Config) *MinerConn {",
		"return NewMinerConn(" + v.newMinerConn + ")", "},",
		"})", markEnd, "}", "",
	}
	if v.mux != "" {
		after := slices.Index(lines, "connWg: "+v.connWg+",") + 1
		lines = slices.Insert(lines, after, "mux: "+v.mux+",")
	}
	formatted, err := format.Source([]byte(strings.Join(lines, "\n")))
	if err != nil {
		return "", fmt.Errorf("internal: format the hook: %w", err)
	}
	text := string(formatted)
	from, to := strings.Index(text, "\t"+markBegin), strings.LastIndex(text, "}")
	if from < 0 || to < from {
		return "", errors.New("internal: the formatted hook has no marks")
	}
	return text[from:to], nil
}

func usesCRLF(content []byte, offset int) bool {
	return offset >= 2 && content[offset-2] == '\r'
}

// checkEdit makes sure that the file is still Go, and still gofmt-clean if it was.
func checkEdit(name string, before, after []byte) error {
	if _, err := parser.ParseFile(token.NewFileSet(), name, after, parser.SkipObjectResolution); err != nil {
		return fmt.Errorf("internal: the edited file is no Go any more: %w", err)
	}
	if clean(before) && !clean(after) {
		return fmt.Errorf("internal: %s would not be gofmt-clean any more", name)
	}
	return nil
}

func clean(source []byte) bool {
	formatted, err := format.Source(source)
	return err == nil && bytes.Equal(formatted, source)
}
