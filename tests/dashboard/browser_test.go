// A tab of a headless browser, and everything in it that went wrong.

package dashboard

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// patience is how long anything may take that takes a moment on an idle machine.
const patience = time.Minute

// tab is a page in a browser of its own.
type tab struct {
	t          *testing.T
	ctx        context.Context
	mu         sync.Mutex
	complaints []string
}

// open starts a browser, in UTC, and loads a page.
func open(t *testing.T, url string) *tab {
	t.Helper()
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(chromium(t)), chromedp.WSURLReadTimeout(patience))
	if os.Getuid() == 0 {
		options = append(options, chromedp.NoSandbox) // root can have none
	}
	allocator, endBrowser := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(endBrowser)
	// Events of newer browsers that the library does not know are no errors.
	ctx, closeTab := chromedp.NewContext(allocator, chromedp.WithErrorf(t.Logf))
	t.Cleanup(closeTab)
	b := &tab{t: t, ctx: ctx}
	chromedp.ListenTarget(ctx, b.hear)
	b.run(emulation.SetTimezoneOverride("UTC"), chromedp.EmulateViewport(1440, 900), chromedp.Navigate(url))
	return b
}

// hear collects what a page should not have to say.
func (b *tab) hear(event any) {
	complaint := ""
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		complaint = e.ExceptionDetails.Error()
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.APITypeError || e.Type == runtime.APITypeWarning || e.Type == runtime.APITypeAssert {
			var texts []string
			for _, argument := range e.Args {
				texts = append(texts, string(argument.Value)+argument.Description)
			}
			complaint = fmt.Sprintf("console.%s: %s", e.Type, strings.Join(texts, " "))
		}
	case *log.EventEntryAdded:
		if e.Entry.Level == log.LevelError || e.Entry.Level == log.LevelWarning {
			complaint = fmt.Sprintf("%s %s: %s (%s)", e.Entry.Source, e.Entry.Level, e.Entry.Text, e.Entry.URL)
		}
	}
	if complaint != "" {
		b.mu.Lock()
		b.complaints = append(b.complaints, complaint)
		b.mu.Unlock()
	}
}

// checkQuiet fails if there were errors or warnings, but for requests that got no answer when
// outages are part of the test.
func (b *tab) checkQuiet(outages bool) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, complaint := range b.complaints {
		if outages && strings.HasPrefix(complaint, "network error: Failed to load resource") {
			continue
		}
		b.t.Errorf("the page complained: %s", complaint)
	}
}

func (b *tab) run(actions ...chromedp.Action) {
	b.t.Helper()
	// Not WithTimeout on the tab's first use: that would end the browser.
	done := make(chan error, 1)
	go func() { done <- chromedp.Run(b.ctx, actions...) }()
	select {
	case err := <-done:
		if err != nil {
			b.t.Fatal(err)
		}
	case <-time.After(patience):
		b.t.Fatalf("the browser did not answer within %v", patience)
	}
}

// eval is the value of a JavaScript expression; promises are awaited.
func eval[T any](b *tab, expression string) T {
	b.t.Helper()
	var raw []byte
	b.run(chromedp.Evaluate(expression, &raw, func(p *runtime.EvaluateParams) *runtime.EvaluateParams {
		return p.WithAwaitPromise(true)
	}))
	var value T
	if err := json.Unmarshal(raw, &value); err != nil {
		b.t.Fatalf("%s: %v in %s", expression, err, raw)
	}
	return value
}

// eventually waits until a JavaScript condition holds.
func (b *tab) eventually(what, condition string) {
	b.t.Helper()
	for end := time.Now().Add(patience); !eval[bool](b, condition); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			shown := eval[string](b, "document.body.innerText")
			b.t.Fatalf("not within %v: %s (%s)\nthe page: %.2000s", patience, what, condition, shown)
		}
	}
}

// press types a key.
func (b *tab) press(key string) {
	b.t.Helper()
	b.run(chromedp.KeyEvent(key))
}

// tabTo presses the tabulator until the focused element meets a condition (of `e`).
func (b *tab) tabTo(condition string) {
	b.t.Helper()
	for range 60 {
		b.press(kb.Tab)
		if eval[bool](b, "((e) => "+condition+")(document.activeElement)") {
			return
		}
	}
	b.t.Fatalf("the tabulator does not reach: %s", condition)
}

// text is the text of the first element of a selector.
func (b *tab) text(selector string) string {
	b.t.Helper()
	quoted, err := json.Marshal(selector)
	if err != nil {
		b.t.Fatal(err)
	}
	return eval[string](b, "document.querySelector("+string(quoted)+").textContent")
}
