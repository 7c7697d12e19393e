// The modules of the page, in the browser that they are for; and rules for all its files.

package dashboard

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// policy is what the service allows the page.
const policy = "default-src 'self'"

func TestModulesDoWhatTheySay(t *testing.T) {
	chromium(t)
	mux := http.NewServeMux()
	mux.Handle("/assets/", http.StripPrefix("/assets/", http.FileServer(http.Dir(assets))))
	mux.Handle("/unit/", http.StripPrefix("/unit/", http.FileServer(http.Dir("unit"))))
	mux.HandleFunc("/favicon.ico", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNoContent)
	})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", policy)
		mux.ServeHTTP(w, r)
	}))
	defer server.Close()

	page := open(t, server.URL+"/unit/index.html")
	page.eventually("the modules' tests end", "window.results !== undefined")
	results := eval[[]struct {
		Name  string
		Error *string
	}](page, "window.results")
	if len(results) < 35 {
		t.Errorf("only %d tests ran", len(results))
	}
	for _, result := range results {
		if result.Error != nil {
			t.Errorf("%s: %s", result.Name, *result.Error)
		}
	}
	page.checkQuiet(false)
}

// ours are the files of the page that are not others'.
func ours(t *testing.T) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(assets)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), "uPlot.") {
			continue
		}
		data, err := os.ReadFile(filepath.Join(assets, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[entry.Name()] = string(data)
	}
	return files
}

// rule is what must not be in files of a kind.
type rule struct {
	ending, what string
	forbidden    *regexp.Regexp
}

var rules = []rule{
	{".js", "parses markup or code", regexp.MustCompile(
		`innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment|\beval\(|new Function\(`)},
	{".js", "asks elsewhere", regexp.MustCompile(`https?://`)},
	{".css", "asks elsewhere", regexp.MustCompile(`url\(|@import`)},
	{".html", "has a script or style inline", regexp.MustCompile(`(?i)<script>|<style|\sstyle=|\son[a-z]+=`)},
	{".html", "asks elsewhere", regexp.MustCompile(`https?://|(?:src|href)="//`)},
}

func broken(name, text string) (found []string) {
	for _, rule := range rules {
		if strings.HasSuffix(name, rule.ending) {
			for _, match := range rule.forbidden.FindAllString(text, -1) {
				found = append(found, name+" "+rule.what+": "+match)
			}
		}
	}
	if lines := strings.Count(text, "\n"); lines > 400 {
		found = append(found, name+" has more than 400 lines")
	}
	return found
}

func TestFilesKeepTheRules(t *testing.T) {
	files := ours(t)
	for name, text := range files {
		for _, fault := range broken(name, text) {
			t.Error(fault)
		}
	}
	if len(files) < 15 {
		t.Errorf("only %d files found", len(files))
	}
}

func TestRulesRejectWhatIsForbidden(t *testing.T) {
	for name, text := range map[string]string{
		"a.js":    "x.innerHTML = y",
		"b.js":    "import 'https://elsewhere.example/x.js'",
		"c.css":   "a { background: url(x) }",
		"d.html":  "<p onclick='x()'>",
		"e.html":  "<p style='color: red'>",
		"f.html":  `<script src="//elsewhere.example/x.js"></script>`,
		"long.js": strings.Repeat("\n", 401),
	} {
		if len(broken(name, text)) == 0 {
			t.Errorf("%s is allowed: %s", name, text)
		}
	}
}

var references = regexp.MustCompile(`(?:src|href)="assets/([^"]+)"|from "\./([^"]+)"`)

func TestEveryFileIsReferredToAndThere(t *testing.T) {
	referred := map[string]bool{"index.html": true, "NOTICE.txt": true}
	for name, text := range ours(t) {
		for _, match := range references.FindAllStringSubmatch(text, -1) {
			file := match[1] + match[2]
			if _, err := os.Stat(filepath.Join(assets, file)); err != nil {
				t.Errorf("%s refers to %s, which is not there", name, file)
			}
			referred[file] = true
		}
	}
	for name := range ours(t) {
		if !referred[name] {
			t.Errorf("nothing refers to %s", name)
		}
	}
}

func TestOthersWorkIsNamedWithItsLicence(t *testing.T) {
	notice := ours(t)["NOTICE.txt"]
	code, err := os.ReadFile(filepath.Join(assets, "uPlot.esm.js"))
	if err != nil {
		t.Fatal(err)
	}
	licence, err := os.ReadFile(filepath.Join(assets, "uPlot.LICENSE.txt"))
	if err != nil {
		t.Fatal(err)
	}
	version := regexp.MustCompile(`uPlot \(v([0-9.]+)\)`).FindSubmatch(code)
	if version == nil || !strings.Contains(notice, "uPlot "+string(version[1])+",") {
		t.Errorf("NOTICE.txt does not name the version of uPlot.esm.js: %q", version)
	}
	if !strings.Contains(string(licence), "The MIT License") || !strings.Contains(string(licence), "Leon Sorokin") {
		t.Error("uPlot.LICENSE.txt is not uPlot's licence")
	}
}
