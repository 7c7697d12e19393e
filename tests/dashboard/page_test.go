// The page on the whole line.

package dashboard

import (
	"fmt"
	"math"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// hostile is a worker's name that is also markup, as far as SV2's identities go.
const hostile = `<img src=x onerror=window.owned=1>`

// screenshotsAfter is how long the line runs before its picture is taken: plots want something to show.
const screenshotsAfter = 4 * time.Minute

// Counts that the page shows; below 100,000 they are exact. NaN: none yet.
var (
	accepted = figure("shares", 0)
	rejected = figure("shares", 1)
	blocks   = figure("blocks", 0)
)

// figure is the JavaScript for a number of a tile.
func figure(tile string, index int) string {
	const count = `Number(document.querySelectorAll(".tile-%s .value")[%d]?.textContent.replaceAll(",", "") ?? "NaN")`
	return fmt.Sprintf(count, tile, index)
}

func TestPageShowsTheLine(t *testing.T) {
	chromium(t)
	l := startLine(t)
	page := open(t, l.page)
	page.eventually("the page says that the sidecar is there",
		`document.querySelector("#state-word").textContent === "Serving"`)
	one, other := l.mine("standard", "rig"), l.mine("extended", hostile)

	checkNumbersChange(page)
	checkNames(page, l.address+"."+hostile)
	checkKeyboard(page)
	checkPhone(page)
	if os.Getenv("UPDATE_SCREENSHOTS") == "1" {
		page.do(`document.querySelector('#ranges input[value="10 min"]').click()`)
		time.Sleep(screenshotsAfter)
		takeScreenshots(page)
	}

	// Miners await their answers; the sidecar says the last sums as their channels end.
	one.stop()
	other.stop()
	books := l.books()
	// A share for a job of the tip before the sidecar refuses itself: the pool does not see it.
	accepted1, rejected1 := l.told("standard")
	accepted2, rejected2 := l.told("extended")
	if told := accepted1 + accepted2; told != books.accepted {
		t.Errorf("miners were told that %d shares are accepted, the pool's journal has %d", told, books.accepted)
	}
	refused := rejected1 + rejected2
	if refused < books.rejected {
		t.Errorf("miners were told that %d shares are rejected, the pool's journal has %d", refused, books.rejected)
	}
	page.eventually("all that happened is shown", fmt.Sprintf(
		"%s >= %d && %s >= %d && %s >= %d", accepted, books.accepted, rejected, refused, blocks, books.blocks))
	for _, figure := range []struct {
		name, expression string
		want             int
	}{{"accepted", accepted, books.accepted}, {"rejected", rejected, refused}, {"blocks", blocks, books.blocks}} {
		if shown := int(eval[float64](page, figure.expression)); shown != figure.want {
			t.Errorf("%s: the page shows %d, it was %d", figure.name, shown, figure.want)
		}
	}
	work := eval[float64](page, `fetch("api/v1/summary").then((answer) => answer.json()).then((all) => all.shares.work)`)
	if math.Abs(work-books.credit) > 1e-9*books.credit {
		t.Errorf("the service has work of %v, the pool credited %v", work, books.credit)
	}
	if books.accepted < 50 {
		t.Errorf("only %d shares were accepted", books.accepted)
	}
	page.checkQuiet(false)
}

// checkNumbersChange waits until the page has shown three different sums, and whatever else comes by itself.
func checkNumbersChange(page *tab) {
	before := 0
	for range 3 {
		page.eventually("more shares are shown", fmt.Sprintf("%s > %d", accepted, before))
		before = int(eval[float64](page, accepted))
	}
	page.eventually("a hash rate is shown",
		`/[1-9]/.test(document.querySelector(".tile-hashrate .value").textContent)`)
	page.eventually("both miners are online",
		`document.querySelector(".tile-workers .value").textContent === "2"`)
	page.eventually("the plot has points",
		`/highest [^0]/.test(document.querySelector(".plot-hashrate .unseen").textContent)`)
	page.eventually("events are shown", `document.querySelectorAll("#events-list li").length >= 4`)
}

// checkNames fails if a name that a stranger has chosen is anything but text.
func checkNames(page *tab, name string) {
	page.eventually("both workers are in the table",
		`document.querySelectorAll("#workers-body tr").length === 2`)
	if shown := page.text("#workers-body"); !strings.Contains(shown, name) {
		page.t.Errorf("the table does not show %q: %q", name, shown)
	}
	made := eval[int](page, `document.querySelectorAll("main img, main script, dialog img").length`)
	if made != 0 || eval[bool](page, "window.owned !== undefined") {
		page.t.Errorf("%d elements were made of names", made)
	}
}

// checkKeyboard sorts, opens and closes without a pointer.
func checkKeyboard(page *tab) {
	page.do("document.body.focus()")
	page.tabTo(`e.closest("th")?.dataset.column === "accepted"`)
	if !eval[bool](page, `getComputedStyle(document.activeElement).outlineStyle !== "none"`) {
		page.t.Error("the focus can't be seen")
	}
	page.press(kb.Enter)
	sorted := `document.querySelector('th[data-column="accepted"]').getAttribute("aria-sort")`
	if order := eval[string](page, sorted); order != "descending" {
		page.t.Errorf("sorted %q", order)
	}
	page.press(kb.Enter)
	if order := eval[string](page, sorted); order != "ascending" {
		page.t.Errorf("sorted %q the second time", order)
	}
	page.tabTo(`e.classList.contains("name")`)
	name := eval[string](page, "document.activeElement.title")
	page.press(kb.Enter)
	page.eventually("the drawer has sessions", `document.querySelector("#drawer").open &&
		document.querySelectorAll("#drawer tbody tr").length >= 1`)
	if title := page.text("#drawer-title"); !strings.Contains(title, name) {
		page.t.Errorf("the drawer of %q is named %q", name, title)
	}
	page.press(kb.Escape)
	page.eventually("Esc closes the drawer and gives the focus back",
		`!document.querySelector("#drawer").open && document.activeElement.classList.contains("name")`)
	search := func(text string) {
		page.do(fmt.Sprintf(`((field) => { field.value = %q; field.dispatchEvent(new Event("input")); })(`+
			`document.querySelector("#search"))`, text))
	}
	search("nobody has this name")
	page.eventually("a search finds nobody", `!document.querySelector("#workers-none").hidden &&
		document.querySelector("#workers-none").textContent === "No worker matches."`)
	search("")
	page.eventually("all are back", `document.querySelectorAll("#workers-body tr").length === 2`)
}

// checkPhone looks for what would make a narrow page scroll sideways, in all its colours.
func checkPhone(page *tab) {
	page.run(emulation.SetDeviceMetricsOverride(360, 740, 1, true))
	for _, theme := range []string{"light", "dark", "auto"} {
		page.do(fmt.Sprintf(`document.querySelector('input[name="theme"][value="%s"]').click()`, theme))
		if wide := eval[int](page, "document.documentElement.scrollWidth"); wide > 360 {
			page.t.Errorf("%s: the page is %d wide on a phone of 360", theme, wide)
		}
	}
	page.do(`document.querySelector("#workers-body .name").click()`)
	page.eventually("the drawer is there", `document.querySelectorAll("#drawer tbody tr").length >= 1`)
	if eval[bool](page, `document.querySelector("#drawer").scrollWidth > 360`) {
		page.t.Error("the drawer is wider than a phone")
	}
	page.press(kb.Escape)
	page.run(emulation.ClearDeviceMetricsOverride(), chromedp.EmulateViewport(1440, 900))
}

func takeScreenshots(page *tab) {
	for _, shot := range []struct {
		name, theme   string
		width, height int64
	}{{"light", "light", 1440, 1000}, {"dark", "dark", 1440, 1000}, {"phone", "dark", 360, 740}} {
		var png []byte
		page.run(emulation.SetDeviceMetricsOverride(shot.width, shot.height, 1, shot.width < 500))
		page.do(fmt.Sprintf(`document.querySelector('input[name="theme"][value="%s"]').click(); scrollTo(0, 0)`, shot.theme))
		page.run(chromedp.Sleep(time.Second), chromedp.CaptureScreenshot(&png))
		name := "../../docs/dashboard-" + shot.name + ".png"
		if err := os.WriteFile(name, png, 0o644); err != nil {
			page.t.Fatal(err)
		}
		page.t.Logf("%s: %d bytes", name, len(png))
	}
	page.run(chromedp.EmulateViewport(1440, 900))
}

func TestPageSaysWhatIsAwayAndComesBack(t *testing.T) {
	chromium(t)
	l := startLine(t)
	miner := l.mine("extended", "rig")
	page := open(t, l.page)
	word := func(want string) {
		t.Helper()
		page.eventually("the page says "+want, fmt.Sprintf(`document.querySelector("#state-word").textContent === %q`, want))
	}
	word("Serving")
	page.eventually("shares are shown", accepted+" > 5")

	l.stats.kill()
	word("Reconnecting")
	if !strings.Contains(page.text("#banner-text"), "Figures are those of") {
		t.Errorf("the banner does not say how old the figures are: %q", page.text("#banner-text"))
	}
	before := int(eval[float64](page, accepted))
	if before <= 5 {
		t.Errorf("the figures went away: %d", before)
	}
	l.restartStats()
	word("Serving")
	page.eventually("what happened meanwhile is shown, and goes on", fmt.Sprintf("%s > %d", accepted, before))

	// The sidecar without its pool, and then no sidecar.
	l.pool.signal(syscall.SIGSTOP)
	page.eventually("the page says that the pool is away",
		`document.querySelector('#health-list [data-state="degraded"], #health-list [data-state="down"]') !== null`)
	l.pool.signal(syscall.SIGCONT)
	word("Serving")
	miner.stop()
	l.sidecar.kill()
	page.eventually("the page says that the sidecar is away", `document.querySelector("#state").dataset.level !== "good" &&
		/last heard|Stale since/.test(document.querySelector("#banner-text").textContent)`)
	if missing := l.books().accepted - int(eval[float64](page, accepted)); missing < 0 {
		t.Errorf("the page shows %d shares more than the pool's journal", -missing)
	}
	page.checkQuiet(true)
}
