package main

import (
	"bytes"
	"fmt"
	"strings"
)

// baseOptions relax what base insists on; only revert sets them.
type baseOptions struct {
	discardEdits bool // our own files go even if somebody edited them
	keepGoMod    bool // go.mod and go.sum stay as they are
}

// base gives the tree's files as they are without our installation: what revert leaves, and what an
// installation starts from. m is nil where nothing was applied. Every file may be as we left it or
// already as it was before, so an interrupted run is no obstacle.
func (t *tree) base(m *manifest, options baseOptions) (map[string][]byte, problems) {
	files := make(map[string][]byte, len(t.files))
	for name, content := range t.files {
		files[name] = content
	}
	var wrong problems
	if m != nil {
		delete(files, manifestInTree)
		for _, added := range m.Added {
			content, exists := files[added.Path]
			if exists && hashOf(content) != added.SHA256 && !options.discardEdits {
				wrong.add(added.Path+" was edited since it was put here", "the edit would be lost",
					"move your edit elsewhere, then `revert -discard-edits`")
			}
			delete(files, added.Path)
		}
		t.withoutHook(m, files, &wrong)
		for _, before := range m.Before {
			if before.Path != m.HookFile && !options.keepGoMod {
				restore(before, files, &wrong)
			}
		}
	}
	for _, name := range sortedNames(files) {
		if isRootGoFile(name) && hasMark(files[name]) && (m == nil || !bytes.Contains(
			files[name], []byte(m.Hook))) {
			wrong.add("the lines of "+name+" marked `"+markBegin+"` … `"+markEnd+"` are not as they were put there",
				"they or their record were edited by hand",
				"delete them, both marks included, and do this again")
		}
		if ours(name) && m == nil {
			wrong.add(name+" is in the way", "files named "+prefix+"… are this installer's, and there "+
				"is no "+manifestInTree+" to say that it wrote this one",
				"if it is left over from an installation, delete it; else rename it")
		}
	}
	for _, name := range t.strays {
		wrong.add(name+" is neither a file nor a folder", "the name is this installer's",
			"rename or delete it")
	}
	return files, wrong
}

// withoutHook takes the marked lines out. They may have moved to another file, with goPool's own code.
func (t *tree) withoutHook(m *manifest, files map[string][]byte, wrong *problems) {
	hook := []byte(m.Hook)
	var at []string
	for _, name := range sortedNames(files) {
		for range bytes.Count(files[name], hook) {
			if isRootGoFile(name) {
				at = append(at, name)
			}
		}
	}
	switch len(at) {
	case 1:
		files[at[0]] = bytes.Replace(files[at[0]], hook, nil, 1)
	case 0: // Gone, as after a git checkout. Edited lines still have a mark, which base reports.
	default:
		wrong.add("the marked lines are there more than once: "+strings.Join(at, ", "), "",
			"delete all but one of them, from `"+markBegin+"` to `"+markEnd+"`")
	}
}

func restore(before beforeFile, files map[string][]byte, wrong *problems) {
	content, exists := files[before.Path]
	untouched := exists == before.Existed && bytes.Equal(content, before.Before)
	switch {
	case untouched:
	case exists && hashOf(content) == before.After && before.Existed:
		files[before.Path] = append([]byte{}, before.Before...) // never nil: empty files are files
	case exists && hashOf(content) == before.After:
		delete(files, before.Path)
	default:
		wrong.add(before.Path+" was changed since `apply`",
			"the lines that came with our packages can't be told from the change",
			fmt.Sprintf("put it back (`git checkout %s`) and do this again; or `revert -keep-go-mod`, "+
				"which leaves go.mod and go.sum as they are, and then `go mod tidy`", before.Path))
	}
}

func hasMark(content []byte) bool {
	return bytes.Contains(content, []byte(markBegin)) || bytes.Contains(content, []byte(markEnd))
}
