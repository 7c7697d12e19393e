package main

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/build/constraint"
	"go/format"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"sort"
	"strconv"
	"strings"
)

// bindingsModule is the path of the module whose sources are copied.
const bindingsModule = "github.com/gopool-sv2/gopool-sv2/go-bindings"

// layerFolder has the files that go into goPool's own package; only those named sv2bridge_*.go.
const layerFolder = "gopool"

// payload is what an installation adds to a tree.
type payload struct {
	files   map[string][]byte // by path in the tree
	imports map[string]bool   // of other modules' packages and the standard library
	flags   map[string]bool   // that the layer defines
	needs   []string          // the `//sv2bridge:needs` lines
	starts  bool              // whether the layer defines sv2bridgeStart
}

// packer collects a payload.
type packer struct {
	payload
	source fs.FS
	module string // goPool's
	tests  bool
	queue  []string // folders of ours that are imported and not copied yet
	seen   map[string]bool
}

// pack collects the layer's files that fit these symbols of goPool's, and the packages of ours that
// they import, with their imports rewritten. tests adds the layer's own tests.
func pack(source fs.FS, module string, has symbols, tests bool) (*payload, error) {
	p := &packer{
		source: source, module: module, tests: tests, seen: map[string]bool{},
		payload: payload{
			files: map[string][]byte{}, imports: map[string]bool{}, flags: map[string]bool{},
		},
	}
	names, err := fs.Glob(source, layerFolder+"/"+prefix+"_*.go")
	if err != nil {
		return nil, fmt.Errorf("list the layer: %w", err)
	}
	for _, name := range names {
		if err := p.layerFile(name, has); err != nil {
			return nil, err
		}
	}
	for len(p.queue) > 0 {
		next := p.queue[0]
		p.queue = p.queue[1:]
		if err := p.copyPackage(next); err != nil {
			return nil, err
		}
	}
	for _, name := range []string{"LICENSE-MIT", "LICENSE-APACHE"} {
		text, err := fs.ReadFile(source, name)
		if err != nil {
			return nil, fmt.Errorf("read the licence: %w", err)
		}
		p.files[folder+"/"+name] = text
	}
	sort.Strings(p.needs)
	return &p.payload, nil
}

func (p *packer) layerFile(name string, has symbols) error {
	test := strings.HasSuffix(name, "_test.go")
	if test && !p.tests {
		return nil
	}
	text, err := fs.ReadFile(p.source, name)
	if err != nil {
		return fmt.Errorf("read the layer: %w", err)
	}
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, name, text, parser.ParseComments)
	if err != nil {
		return fmt.Errorf("parse the layer: %w", err)
	}
	takes, needs := directives(file, has)
	if !takes {
		return nil
	}
	p.needs = append(p.needs, needs...)
	for _, decl := range file.Decls {
		function, ok := decl.(*ast.FuncDecl)
		p.starts = p.starts || ok && !test && function.Recv == nil && function.Name.Name == startFunc
	}
	ast.Inspect(file, func(node ast.Node) bool {
		if flag, ok := flagName(node); ok {
			p.flags[flag] = true
		}
		return true
	})
	text, err = withoutTag(name, text, fset, file)
	if err != nil {
		return err
	}
	return p.put(path.Base(name), name, text)
}

// directives evaluates the `//sv2bridge:` lines of a layer's file.
func directives(file *ast.File, has symbols) (takes bool, needs []string) {
	takes = true
	for _, group := range file.Comments {
		for _, comment := range group.List {
			verb, rest, _ := strings.Cut(comment.Text, " ")
			what := strings.Join(strings.Fields(rest), " ")
			switch verb {
			case "//sv2bridge:needs":
				needs = append(needs, what)
			case "//sv2bridge:if":
				takes = takes && has[what]
			case "//sv2bridge:unless":
				takes = takes && !has[what]
			}
		}
	}
	return takes, needs
}

// withoutTag takes our build tag, which keeps the file out of our own builds, out of its constraint.
func withoutTag(name string, text []byte, fset *token.FileSet, file *ast.File) ([]byte, error) {
	for _, group := range file.Comments {
		for _, comment := range group.List {
			if !constraint.IsGoBuild(comment.Text) || comment.Pos() > file.Package {
				continue
			}
			expr, err := constraint.Parse(comment.Text)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			left := ""
			if both, ok := expr.(*constraint.AndExpr); ok {
				expr, left = both.X, "//go:build "+both.Y.String()
			}
			if tag, ok := expr.(*constraint.TagExpr); !ok || tag.Tag != buildTag {
				break
			}
			from := fset.Position(comment.Pos()).Offset
			to := fset.Position(comment.End()).Offset
			return bytes.Join([][]byte{text[:from], []byte(left), text[to:]}, nil), nil
		}
	}
	return nil, fmt.Errorf("%s: a file of the layer begins with `//go:build %s` (or `%s && …`), "+
		"so that this module's own build leaves it out", name, buildTag, buildTag)
}

func (p *packer) copyPackage(dir string) error {
	names, err := fs.Glob(p.source, dir+"/*.go")
	if err != nil {
		return fmt.Errorf("list package %s: %w", dir, err)
	}
	if len(names) == 0 {
		return fmt.Errorf("package %s of %s is imported, and this installer does not carry it",
			dir, bindingsModule)
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") || path.Dir(name) == layerFolder &&
			strings.HasPrefix(path.Base(name), prefix+"_") {
			continue
		}
		text, err := fs.ReadFile(p.source, name)
		if err != nil {
			return fmt.Errorf("read package %s: %w", dir, err)
		}
		if err := p.put(folder+"/"+name, name, text); err != nil {
			return err
		}
	}
	headers, err := fs.Glob(p.source, dir+"/*.h")
	if err != nil {
		return fmt.Errorf("list package %s: %w", dir, err)
	}
	for _, name := range headers {
		if p.files[folder+"/"+name], err = fs.ReadFile(p.source, name); err != nil {
			return fmt.Errorf("read package %s: %w", dir, err)
		}
	}
	return nil
}

// put adds a file under its path in the tree, with our imports rewritten to where they are there.
func (p *packer) put(to, from string, text []byte) error {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, from, text, parser.ImportsOnly)
	if err != nil {
		return fmt.Errorf("parse %s: %w", from, err)
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, "// Code generated by gopool-sv2-install from %s/%s. DO NOT EDIT.\n", bindingsModule, from)
	fmt.Fprintf(&out, "// Licence: MIT OR Apache-2.0, see %s/LICENSE-*.\n\n", folder)
	last := 0
	for _, spec := range file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return fmt.Errorf("parse %s: %w", from, err)
		}
		dir, isOurs := strings.CutPrefix(imported, bindingsModule+"/")
		if !isOurs {
			p.imports[imported] = true
			continue
		}
		if !p.seen[dir] {
			p.seen[dir] = true
			p.queue = append(p.queue, dir)
		}
		out.Write(text[last:fset.Position(spec.Path.Pos()).Offset])
		out.WriteString(strconv.Quote(p.module + "/" + folder + "/" + dir))
		last = fset.Position(spec.Path.End()).Offset
	}
	out.Write(text[last:])
	formatted, err := format.Source(out.Bytes())
	if err != nil {
		return fmt.Errorf("format %s: %w", from, err)
	}
	p.files[to] = formatted
	return nil
}

var errNoLayer = errors.New("this installer was built without the goPool layer: no file of " +
	bindingsModule + "/" + layerFolder + " defines " + startFunc)

// unmet collects what of goPool's the layer needs and goPool doesn't have, or has otherwise.
func (p *payload) unmet(has symbols) problems {
	var wrong problems
	told := map[string]bool{}
	for _, need := range p.needs {
		if has[need] || told[need] {
			continue
		}
		told[need] = true
		what := "goPool has no `" + need + "`"
		if like := has.like(need); like != "" {
			what += ", but `" + like + "`"
		}
		wrong.add(what, "our layer is written against it", newerInstaller)
	}
	return wrong
}
