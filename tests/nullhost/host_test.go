package main

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

// ear hears what the host says.
type ear struct {
	jobs     []*sv2.Job
	verdicts []sv2.Verdict
}

func (e *ear) Job(job *sv2.Job)                { e.jobs = append(e.jobs, job) }
func (e *ear) Target(sv2.Target)               {}
func (e *ear) BlockResult(sv2.BlockResult)     {}
func (e *ear) Kick(sv2.Kick)                   {}
func (e *ear) Verdicts(verdicts []sv2.Verdict) { e.verdicts = append(e.verdicts, verdicts...) }

func TestAcceptsEverySubmitOfEveryChannel(t *testing.T) {
	h, err := newHost()
	if err != nil {
		t.Fatal(err)
	}
	var prefixes [][]byte
	for _, kind := range []sv2.Kind{sv2.Extended, sv2.Standard} {
		heard := new(ear)
		c, opened, err := h.OpenChannel(t.Context(), sv2.OpenRequest{Kind: kind, MaxTarget: sv2.MaxTarget}, heard)
		if err != nil {
			t.Fatal(err)
		}
		prefixes = append(prefixes, opened.Prefix[:prefixSize])
		if size := len(opened.Prefix) + opened.ExtranonceSize; size != prefixSize+extranonceSize {
			t.Errorf("%v: an extranonce of %d bytes", kind, size)
		}
		c.Submit([]sv2.Submit{{ID: 7}, {ID: 8, JobID: 99}})
		if len(heard.verdicts) != 2 || heard.verdicts[0].SubmitID != 7 || !heard.verdicts[1].Accepted() ||
			heard.verdicts[0].Hash == heard.verdicts[1].Hash {
			t.Errorf("%v: %+v", kind, heard.verdicts)
		}
		h.tell(false)
		h.tell(true)
		if len(heard.jobs) != 2 || heard.jobs[0].PrevHash != opened.Job.PrevHash ||
			heard.jobs[1].PrevHash == opened.Job.PrevHash || heard.jobs[1].ID == heard.jobs[0].ID {
			t.Errorf("%v: %+v", kind, heard.jobs)
		}
		c.Close("")
		h.tell(true)
		if len(heard.jobs) != 2 {
			t.Errorf("%v: a job after the end", kind)
		}
	}
	if bytes.Equal(prefixes[0], prefixes[1]) {
		t.Error("two channels have one prefix")
	}
}

func TestSaysFirstOfAllThatItIsNoPool(t *testing.T) {
	for _, text := range []string{warning, software} {
		if !strings.Contains(strings.ToLower(text), "not a pool") {
			t.Error(text)
		}
	}
}

func TestRejectsWhatItCannotServe(t *testing.T) {
	quiet := slog.New(slog.DiscardHandler)
	if err := run([]string{"-carrier", "pigeon"}, quiet); err == nil || !strings.Contains(err.Error(), "grpc or ffi") {
		t.Error(err)
	}
	if err := run([]string{"-carrier", "ffi"}, quiet); err == nil {
		t.Error("a listener without a configuration")
	}
	h, err := newHost()
	if err != nil {
		t.Fatal(err)
	}
	request := sv2.OpenRequest{Kind: sv2.Extended, MinExtranonceSize: extranonceSize + 1}
	if _, _, err := h.OpenChannel(context.Background(), request, new(ear)); err == nil {
		t.Error("an extranonce that is too long")
	}
}
