// The page with ten thousand workers, whom a sidecar that is none tells of.

package dashboard

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

const (
	// crowdSize is how many workers the page has to cope with.
	crowdSize = 10_000
	// perConnection are the channels of one connection: farms come through proxies.
	perConnection = 20
	// longest are bytes of an identity: SV2 has no more.
	longest = 255
	// batchSize is how many events one message may have.
	batchSize = 1024
)

// crowd tells the statistics service what a sidecar would.
type crowd struct {
	stream grpc.BidiStreamingClient[sv2pb.PublishRequest, sv2pb.PublishResponse]
	seq    uint64
}

// startCrowd connects as a sidecar.
func startCrowd(t *testing.T, socket string) *crowd {
	t.Helper()
	link, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = link.Close() })
	ctx := metadata.NewOutgoingContext(t.Context(), metadata.Pairs("x-gopool-sv2-protocol", "1"))
	stream, err := sv2pb.NewEventServiceClient(link).Publish(ctx)
	if err != nil {
		t.Fatal(err)
	}
	err = stream.Send(&sv2pb.PublishRequest{Message: &sv2pb.PublishRequest_Start{Start: &sv2pb.PublishStart{
		Protocol: 1, SidecarId: "crowd", SourceId: bytes.Repeat([]byte{7}, 16), FirstSeq: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	if ready, err := stream.Recv(); err != nil || ready.GetReady() == nil {
		t.Fatalf("the service begins with %v, %v", ready, err)
	}
	return &crowd{stream: stream}
}

// tell sends events and waits until all of them are kept.
func (c *crowd) tell(events []*sv2pb.Event) error {
	now := time.Now().UnixMilli()
	for batch := range slices.Chunk(events, batchSize) {
		for _, event := range batch {
			c.seq++
			event.Seq, event.AtMs = c.seq, now
		}
		err := c.stream.Send(&sv2pb.PublishRequest{Message: &sv2pb.PublishRequest_Batch{
			Batch: &sv2pb.EventBatch{Events: batch}}})
		if err != nil {
			return fmt.Errorf("send events: %w", err)
		}
		for kept := uint64(0); kept < c.seq; {
			answer, err := c.stream.Recv()
			if err != nil {
				return fmt.Errorf("await that events are kept: %w", err)
			}
			kept = answer.GetAck().GetSeq()
		}
	}
	return nil
}

// identity is the name of a worker: mostly an address and a number, one as long as may be, and one
// that is markup.
func identity(worker uint64) []byte {
	name := fmt.Appendf(nil, "bc1q%038d.rig%d", worker/100, worker)
	switch worker {
	case 17:
		return append(name, bytes.Repeat([]byte{'M'}, longest-len(name))...)
	case 18:
		return append(name, hostile...)
	}
	return name
}

// enter opens everybody's channel.
func (c *crowd) enter() error {
	var events []*sv2pb.Event
	for worker := range uint64(crowdSize) {
		connection := 1 + worker/perConnection
		if worker%perConnection == 0 {
			events = append(events, &sv2pb.Event{Event: &sv2pb.Event_ConnectionOpened{
				ConnectionOpened: &sv2pb.ConnectionOpened{Connection: &sv2pb.Connection{Id: connection,
					RemoteAddress: fmt.Sprintf("192.0.2.%d:%d", connection%250, connection),
					Vendor:        []byte("Acme"), HardwareVersion: []byte("S21"),
					ConnectedMs: time.Now().UnixMilli()}}}})
		}
		events = append(events, &sv2pb.Event{Event: &sv2pb.Event_ChannelStarted{
			ChannelStarted: &sv2pb.ChannelStarted{ChannelId: worker + 1, ConnectionId: connection,
				Kind: sv2pb.ChannelKind_CHANNEL_KIND_EXTENDED, UserIdentity: identity(worker),
				NominalHashRate: 1e14}}})
	}
	return c.tell(events)
}

// mine has everybody find some shares in the time since.
func (c *crowd) mine(since time.Time) error {
	var events []*sv2pb.Event
	for worker := range uint64(crowdSize) {
		accepted := 5 + worker%7
		totals := &sv2pb.ShareTotals{ChannelId: worker + 1, Accepted: accepted, SinceMs: since.UnixMilli(),
			Credit: &sv2pb.Difficulty{Whole: accepted * (1000 + worker)}}
		if worker%50 == 0 {
			totals.Rejected = []*sv2pb.RejectCount{{Reason: sv2pb.RejectReason_REJECT_REASON_STALE_SHARE, Count: 1}}
		}
		events = append(events, &sv2pb.Event{Event: &sv2pb.Event_ShareTotals{ShareTotals: totals}})
	}
	snapshot := &sv2pb.Snapshot{SinceMs: since.UnixMilli(), Connections: crowdSize / perConnection,
		ExtendedChannels: crowdSize,
		Answers:          []*sv2pb.LatencyCount{{UptoUs: 1000, Count: 98}, {UptoUs: 50_000, Count: 2}},
		Dependencies:     []*sv2pb.Dependency{{Name: "pool", State: "up"}}}
	return c.tell(append(events, &sv2pb.Event{Event: &sv2pb.Event_Snapshot{Snapshot: snapshot}}))
}

// timed says how long something took: nothing depends on it.
func timed(page *tab, what string, act func()) {
	begun := time.Now()
	act()
	page.t.Logf("%-34s %5d ms", what, time.Since(begun).Milliseconds())
}

// rows are the names in the table of workers.
func rows(page *tab) []string {
	return eval[[]string](page, `[...document.querySelectorAll("#workers-body .name")].map((name) => name.title)`)
}

// shows waits until the pager of the workers says so.
func shows(page *tab, which string) {
	page.t.Helper()
	page.eventually("the pager says "+which, fmt.Sprintf(
		`document.querySelector("#workers-pager p")?.textContent === %q`, which))
}

func TestPageIsUsableWithTenThousandWorkers(t *testing.T) {
	chromium(t)
	l := newLine(t)
	l.startStats("127.0.0.1:0")
	c := startCrowd(t, l.path("stats.sock"))
	if err := errors.Join(c.enter(), c.mine(time.Now().Add(-time.Hour))); err != nil {
		t.Fatal(err)
	}

	page := open(t, l.page)
	timed(page, "first numbers, from the open page", func() {
		page.eventually("all are online", `document.querySelector(".tile-workers .value")?.textContent === "10,000"`)
		shows(page, "1–50 of 10,000")
	})

	// While it is used everybody mines on.
	ctx, stop := context.WithCancel(t.Context())
	mined := make(chan error, 1)
	go func() {
		var err error
		for since := time.Now(); err == nil && ctx.Err() == nil; time.Sleep(time.Second) {
			now := time.Now()
			err = c.mine(since)
			since = now
		}
		mined <- err
	}()
	checkCrowdTable(page)
	checkCrowdDrawer(page)
	const sum = `document.querySelector(".tile-shares .figure").title`
	page.eventually("sums grow", fmt.Sprintf("%s !== %q", sum, eval[string](page, sum)))
	stop()
	if err := <-mined; err != nil {
		t.Error(err)
	}

	// What is on the page does not grow with the workers.
	if nodes := eval[int](page, `document.querySelectorAll("*").length`); nodes > 3000 {
		t.Errorf("the page has %d elements", nodes)
	}
	if made := eval[int](page, `document.querySelectorAll("main img, dialog img").length`); made != 0 {
		t.Errorf("%d elements were made of names", made)
	}
	t.Logf("memory of its scripts: %.1f MiB", eval[float64](page, "performance.memory.usedJSHeapSize / 2**20"))
	page.checkQuiet(false)
}

// checkCrowdTable sorts, searches and pages.
func checkCrowdTable(page *tab) {
	t := page.t
	timed(page, "the last page", func() {
		page.do(`document.querySelector('#workers-pager [data-go="last"]').click()`)
		shows(page, "9,951–10,000 of 10,000")
	})
	for _, column := range []string{"identity", "accepted", "rejected", "work", "best", "last_share", "online", "hashrate"} {
		timed(page, "sorted by "+column, func() {
			page.do(fmt.Sprintf(`document.querySelector('th[data-column=%q] button').click()`, column))
			page.eventually("it is answered", fmt.Sprintf(`performance.getEntriesByType("resource").some((asked) =>
				asked.name.includes("workers?") && asked.name.includes("sort=%s") && asked.responseEnd > 0)`, column))
			shows(page, "1–50 of 10,000")
		})
	}
	timed(page, "the next page", func() {
		page.do(`document.querySelector('#workers-pager [data-go="next"]').click()`)
		shows(page, "51–100 of 10,000")
	})
	search := func(text, which string) {
		t.Helper()
		timed(page, fmt.Sprintf("search %q", text), func() {
			page.do(fmt.Sprintf(`((field) => { field.value = %q; field.dispatchEvent(new Event("input")); })(`+
				`document.querySelector("#search"))`, text))
			page.eventually(which, fmt.Sprintf(`document.querySelector("#workers-pager p").textContent === %q ||
				document.querySelector("#workers-pager").hidden &&
				document.querySelectorAll("#workers-body tr").length === %q * 1`, which, which))
		})
	}
	search("RIG99", "1–50 of 111")
	search("rig9999", "1")
	if names := rows(page); len(names) != 1 || !strings.HasSuffix(names[0], ".rig9999") {
		t.Errorf("found %q", names)
	}
	search("", "1–50 of 10,000")
}

// checkCrowdDrawer opens the worker with the longest name, on a screen and on a phone.
func checkCrowdDrawer(page *tab) {
	page.do(`((field) => { field.value = "MMMM"; field.dispatchEvent(new Event("input")); })(` +
		`document.querySelector("#search"))`)
	page.eventually("it is found", `document.querySelectorAll("#workers-body tr").length === 1`)
	for _, width := range []int64{1440, 360} {
		page.run(chromedp.EmulateViewport(width, 900))
		if wide := eval[int64](page, "document.documentElement.scrollWidth"); wide > width {
			page.t.Errorf("the page is %d wide on a screen of %d", wide, width)
		}
		timed(page, "details of a worker", func() {
			page.do(`document.querySelector("#workers-body .name").click()`)
			page.eventually("the drawer has its session", `document.querySelector("#drawer").open &&
				document.querySelectorAll("#drawer tbody tr").length >= 1`)
		})
		if eval[bool](page, fmt.Sprintf(`document.querySelector("#drawer").scrollWidth > %d`, width)) {
			page.t.Errorf("the drawer is wider than a screen of %d", width)
		}
		page.do(`document.querySelector("#drawer-close").click()`)
	}
	page.run(chromedp.EmulateViewport(1440, 900))
	page.do(`((field) => { field.value = ""; field.dispatchEvent(new Event("input")); })(` +
		`document.querySelector("#search"))`)
	shows(page, "1–50 of 10,000")
}
