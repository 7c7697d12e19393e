package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
)

// Names. Nothing of goPool's starts with prefix, and nothing of ours in its tree with anything else.
const (
	prefix    = "sv2bridge"
	folder    = prefix
	buildTag  = prefix
	markBegin = "// sv2bridge:begin"
	markEnd   = "// sv2bridge:end"
	startFunc = "sv2bridgeStart"
	poolType  = "sv2bridgePool"
)

// tree is a goPool tree as it is on disk: the files of its root that matter, and what lies in our
// folder.
type tree struct {
	root   string            // absolute, without symbolic links
	files  map[string][]byte // by path relative to root: root *.go, go.mod, go.sum, sv2bridge/**
	links  map[string]bool   // which of these are symbolic links
	strays []string          // in our folder, but neither file nor folder
}

var moduleLine = regexp.MustCompile(`(?m)^\s*module\s+(?:"([^"]+)"|([^\s"/]\S*))`)

func isRootGoFile(name string) bool {
	return strings.HasSuffix(name, ".go") && !strings.ContainsAny(name, `/\`) && name[0] != '.'
}

// ours says whether only this installer writes that path.
func ours(name string) bool {
	if !filepath.IsLocal(name) || path.Clean(name) != name {
		return false
	}
	return strings.HasPrefix(name, folder+"/") || isRootGoFile(name) && strings.HasPrefix(name, prefix)
}

// readTree reads what matters of a tree. A folder without go.mod is a problem, not an error.
func readTree(dir string) (*tree, problems, error) {
	root, err := filepath.Abs(dir)
	if err == nil {
		root, err = filepath.EvalSymlinks(root)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("find the tree: %w", err)
	}
	found := &tree{root: root, files: map[string][]byte{}, links: map[string]bool{}}
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, nil, fmt.Errorf("read the tree: %w", err)
	}
	for _, entry := range entries {
		name := entry.Name()
		switch {
		case name == folder && entry.IsDir():
			err = found.readFolder()
		case name == "go.mod", name == "go.sum", isRootGoFile(name) && !entry.IsDir():
			err = found.read(name)
		case name == folder:
			found.strays = append(found.strays, name)
		}
		if err != nil {
			return nil, nil, err
		}
	}
	var wrong problems
	if found.files["go.mod"] == nil {
		wrong.add(root+" has no go.mod", "", "run this in goPool's folder, or name it: -C DIR")
	} else if found.module(found.files) == "" {
		wrong.add(root+"/go.mod has no module line", "", "put go.mod right: git checkout go.mod")
	}
	return found, wrong, nil
}

func (t *tree) readFolder() error {
	top := filepath.Join(t.root, folder)
	err := filepath.WalkDir(top, func(at string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(t.root, at)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		if !entry.Type().IsRegular() {
			t.strays = append(t.strays, name)
			return nil
		}
		return t.read(name)
	})
	if err != nil {
		return fmt.Errorf("read %s: %w", top, err)
	}
	return nil
}

func (t *tree) read(name string) error {
	at := t.path(name)
	info, err := os.Lstat(at)
	if err != nil {
		return fmt.Errorf("read the tree: %w", err)
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		t.links[name] = true
		target, err := os.Stat(at)
		if errors.Is(err, fs.ErrNotExist) || err == nil && !target.Mode().IsRegular() {
			return nil // an editor's lock, say: Go does not build it either
		}
	}
	content, err := os.ReadFile(at)
	if err != nil {
		return fmt.Errorf("read the tree: %w", err)
	}
	t.files[name] = content
	return nil
}

// path is where a file of the tree is on disk.
func (t *tree) path(name string) string {
	return filepath.Join(t.root, filepath.FromSlash(name))
}

// module is the module path in go.mod, or empty.
func (t *tree) module(files map[string][]byte) string {
	match := moduleLine.FindSubmatch(files["go.mod"])
	if match == nil {
		return ""
	}
	return string(match[1]) + string(match[2])
}

// manifest is the record of what was applied here. Nil when nothing was.
func (t *tree) manifest() (*manifest, error) {
	text, exists := t.files[manifestInTree]
	if !exists {
		return nil, nil
	}
	m, err := decodeManifest(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t.path(manifestInTree), err)
	}
	return m, nil
}

// writable collects what would keep files of the tree from being replaced: only plain files are
// edited, and a file that somebody made read-only stays as it is.
func (t *tree) writable(names []string) problems {
	var wrong problems
	for _, name := range names {
		info, err := os.Lstat(t.path(name))
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			wrong.add(fmt.Sprintf("%s: %v", name, err), "", "make it accessible")
		case info.Mode()&fs.ModeSymlink != 0:
			wrong.add(name+" is a symbolic link",
				"an edit would change a file outside of this tree, or replace the link",
				"use `overlay`, which edits nothing, or put the file itself here")
		case !info.Mode().IsRegular():
			wrong.add(name+" is not a plain file", "", "use `overlay`, which edits nothing")
		case info.Mode().Perm()&0o200 == 0:
			wrong.add(name+" is read-only", "somebody meant it to stay as it is",
				"chmod u+w "+name+", or use `overlay`, which edits nothing")
		}
	}
	probe, err := os.CreateTemp(t.root, ".sv2bridge-*")
	if err != nil {
		wrong.add(fmt.Sprintf("can't write in %s: %v", t.root, err), "",
			"run this as the user that owns the tree, or use `overlay`, which edits nothing")
		return wrong
	}
	_ = probe.Close()
	_ = os.Remove(probe.Name())
	return wrong
}

// sortedNames are the keys in order, so that reports and manifests don't vary.
func sortedNames[V any](files map[string]V) []string {
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// parentFolders are the folders above a path inside the tree, innermost first.
func parentFolders(name string) []string {
	var parents []string
	for name = path.Dir(name); name != "."; name = path.Dir(name) {
		parents = append(parents, name)
	}
	return parents
}
