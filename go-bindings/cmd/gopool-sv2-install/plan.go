package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// overlayFile is the name of the file for go build -overlay.
const overlayFile = "overlay.json"

// plan is an installation worked out in memory, before anything is written.
type plan struct {
	base  map[string][]byte // the tree's files without us
	hook  edit
	at    *anchor
	where string // file:line of the anchor's statement
	added *payload
	after map[string][]byte // go.mod and go.sum as they have to be; filled in by complete
}

// makePlan works out an installation in a tree, or all that is in its way.
func makePlan(t *tree, source fs.FS, tests bool) (*plan, problems, error) {
	m, err := t.manifest()
	if err != nil {
		return nil, nil, err
	}
	files, wrong := t.base(m, baseOptions{})
	pool, more := parsePool(t.root, files)
	wrong = append(wrong, more...)
	if len(more) > 0 { // what a file that can't be read declares would only be missed below
		return nil, wrong, nil
	}
	added, err := pack(source, t.module(files), pool.symbols, tests)
	if err != nil {
		return nil, nil, err
	}
	wrong = append(wrong, pool.clashes(added.flags)...)
	wrong = append(wrong, added.unmet(pool.symbols)...)
	made := &plan{base: files, added: added}
	at, more := pool.findAnchor()
	wrong = append(wrong, more...)
	if at != nil {
		made.at, made.where = at, pool.position(at.stmt)
		v, more := pool.derive(at)
		wrong = append(wrong, more...)
		if len(more) == 0 {
			if made.hook, err = pool.hookEdit(at, v); err != nil {
				wrong.add(err.Error(), "our lines go between two statements", newerInstaller)
			}
		}
	}
	return made, wrong, nil
}

// stage writes the plan as an overlay into dir, which is empty, and completes it: what go.mod and
// go.sum have to be. The paths in the overlay file are those of final, where dir will be later.
func (p *plan) stage(ctx context.Context, t *tree, source fs.FS, dir, final string) error {
	replace := map[string]string{}
	for name := range t.files {
		if _, kept := p.base[name]; !kept {
			replace[t.path(name)] = "" // ours, of an earlier apply
		}
	}
	contents := map[string][]byte{p.hook.file: p.hook.after}
	for name, content := range p.added.files {
		contents[name] = content
	}
	for name, content := range contents {
		to := filepath.Join(dir, "files", filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return fmt.Errorf("stage: %w", err)
		}
		if err := os.WriteFile(to, content, 0o644); err != nil {
			return fmt.Errorf("stage: %w", err)
		}
		replace[t.path(name)] = filepath.Join("files", filepath.FromSlash(name))
	}
	if err := writeOverlay(filepath.Join(dir, overlayFile), replace, dir); err != nil {
		return err
	}
	if err := stageModules(ctx, dir, p.base, source, p.added); err != nil {
		return err
	}
	if err := resolveModules(ctx, t.root, dir); err != nil {
		return err
	}
	p.after = map[string][]byte{}
	for name, staged := range map[string]string{"go.mod": overlayMod, "go.sum": overlaySum} {
		content, err := os.ReadFile(filepath.Join(dir, staged))
		if err != nil {
			return fmt.Errorf("stage: %w", err)
		}
		p.after[name] = content
	}
	return writeOverlay(filepath.Join(dir, overlayFile), replace, final)
}

// writeOverlay writes the file for go build -overlay; its relative targets are below dir.
func writeOverlay(path string, replace map[string]string, dir string) error {
	absolute := map[string]string{}
	for from, to := range replace {
		if to != "" {
			to = filepath.Join(dir, to)
		}
		absolute[from] = to
	}
	text, err := json.MarshalIndent(map[string]any{"Replace": absolute}, "", "  ")
	if err != nil {
		return fmt.Errorf("write the overlay: %w", err)
	}
	if err := os.WriteFile(path, append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("write the overlay: %w", err)
	}
	return nil
}

// edited are the files of goPool's that change, with their new contents.
func (p *plan) edited() map[string][]byte {
	files := map[string][]byte{p.hook.file: p.hook.after}
	for name, content := range p.after {
		if before, existed := p.base[name]; !existed && len(content) > 0 || string(before) != string(content) {
			files[name] = content
		}
	}
	return files
}

// record is the manifest of a completed plan.
func (p *plan) record(t *tree, version string) *manifest {
	m := &manifest{
		Format: manifestFormat, Installer: version, HookFile: p.hook.file, Hook: p.hook.text,
	}
	edited := p.edited()
	for _, name := range []string{p.hook.file, "go.mod", "go.sum"} {
		before, existed := p.base[name]
		after, changes := edited[name]
		if !changes {
			after = before
		}
		file := beforeFile{Path: name, Existed: existed, After: hashOf(after)}
		if existed {
			file.SHA256 = hashOf(before)
		}
		if name != p.hook.file {
			file.Before = before
		}
		m.Before = append(m.Before, file)
	}
	for _, name := range sortedNames(p.added.files) {
		m.Added = append(m.Added, addedFile{Path: name, SHA256: hashOf(p.added.files[name])})
	}
	return m
}
