package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"path/filepath"
	"strconv"
	"strings"
)

// pool is goPool's package main as parsed. Code is found by what it says, never by its file.
type pool struct {
	fset    *token.FileSet
	files   map[string][]byte    // sources, by file name
	all     map[string]*ast.File // every root Go file that parses
	built   map[string]*ast.File // those that a build takes: no tests, constraints met
	symbols symbols
}

// symbols is what package main declares, in two spellings each: `func F` and `func F(T) U`.
type symbols map[string]bool

// parsePool parses the Go files of the tree's root. What is missing is a problem.
func parsePool(root string, files map[string][]byte) (*pool, problems) {
	found := &pool{
		fset: token.NewFileSet(), files: files, symbols: symbols{},
		all: map[string]*ast.File{}, built: map[string]*ast.File{},
	}
	context := build.Default
	context.CgoEnabled = true
	context.OpenFile = func(path string) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(files[filepath.Base(path)])), nil
	}
	var wrong problems
	for _, name := range sortedNames(files) {
		if !isRootGoFile(name) {
			continue
		}
		file, err := parser.ParseFile(found.fset, name, files[name], parser.ParseComments)
		takes, matchErr := context.MatchFile(root, name)
		takes = takes && matchErr == nil && !strings.HasSuffix(name, "_test.go")
		if err != nil {
			if takes {
				wrong.add(fmt.Sprintf("can't read the Go of %v", err), "",
					"make `go vet` pass first; a half-finished merge, perhaps?")
			}
			continue
		}
		found.all[name] = file
		if takes && file.Name.Name == "main" {
			found.built[name] = file
			found.symbols.collect(file)
		}
	}
	if len(found.built) == 0 {
		wrong.add("no Go file of package main in "+root, "goPool is one package in its top folder",
			"run this in goPool's folder, or name it: -C DIR")
	}
	return found, wrong
}

// position is file:line, for reports.
func (p *pool) position(node ast.Node) string {
	at := p.fset.Position(node.Pos())
	return at.Filename + ":" + strconv.Itoa(at.Line)
}

// text is the source of a node of a file.
func (p *pool) text(node ast.Node) string {
	from, to := p.fset.Position(node.Pos()), p.fset.Position(node.End())
	return string(p.files[from.Filename][from.Offset:to.Offset])
}

func (s symbols) collect(file *ast.File) {
	for _, decl := range file.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			name := "func " + decl.Name.Name
			if decl.Recv != nil && len(decl.Recv.List) == 1 {
				name = "func (" + types.ExprString(decl.Recv.List[0].Type) + ")." + decl.Name.Name
			}
			s[name] = true
			s[name+signature(decl.Type)] = true
		case *ast.GenDecl:
			for _, spec := range decl.Specs {
				s.collectSpec(decl.Tok, spec)
			}
		}
	}
}

func (s symbols) collectSpec(kind token.Token, spec ast.Spec) {
	switch spec := spec.(type) {
	case *ast.TypeSpec:
		s["type "+spec.Name.Name] = true
		if structure, ok := spec.Type.(*ast.StructType); ok {
			for _, field := range structure.Fields.List {
				for _, name := range field.Names {
					full := "field " + spec.Name.Name + "." + name.Name
					s[full] = true
					s[full+" "+types.ExprString(field.Type)] = true
				}
			}
		}
	case *ast.ValueSpec:
		for _, name := range spec.Names {
			s[kind.String()+" "+name.Name] = true
		}
	}
}

// like finds how something is declared that is there under that name, but with other types.
func (s symbols) like(need string) string {
	for name := range s {
		at := strings.LastIndex(need, name)
		if at == 0 && len(name) < len(need) && strings.ContainsAny(need[len(name):len(name)+1], " (") {
			for full := range s {
				if strings.HasPrefix(full, name) && len(full) > len(name) &&
					strings.ContainsAny(full[len(name):len(name)+1], " ([") {
					return full
				}
			}
		}
	}
	return ""
}

// signature is the types of a function, without names: `(string, time.Time) bool`.
func signature(function *ast.FuncType) string {
	text := "(" + strings.Join(typesOf(function.Params), ", ") + ")"
	results := typesOf(function.Results)
	switch len(results) {
	case 0:
		return text
	case 1:
		return text + " " + results[0]
	}
	return text + " (" + strings.Join(results, ", ") + ")"
}

func typesOf(fields *ast.FieldList) []string {
	var list []string
	for _, field := range parametersOf(fields) {
		list = append(list, field.typ)
	}
	return list
}

// parameter is one parameter or result; name is empty where it has none.
type parameter struct{ name, typ string }

func parametersOf(fields *ast.FieldList) []parameter {
	var list []parameter
	if fields == nil {
		return nil
	}
	for _, field := range fields.List {
		typ := types.ExprString(field.Type)
		if len(field.Names) == 0 {
			list = append(list, parameter{typ: typ})
		}
		for _, name := range field.Names {
			list = append(list, parameter{name: name.Name, typ: typ})
		}
	}
	return list
}

// clashes collects what of goPool's has a name of ours, and flags of ours that goPool has too.
func (p *pool) clashes(flags map[string]bool) problems {
	var wrong problems
	for _, name := range sortedNames(p.all) {
		file := p.all[name]
		for _, decl := range file.Decls {
			for _, ident := range declared(decl) {
				if strings.HasPrefix(ident.Name, prefix) {
					wrong.add(fmt.Sprintf("%s: goPool declares `%s`", p.position(ident), ident.Name),
						"names that begin with "+prefix+" are ours", "rename it")
				}
			}
		}
		if p.built[name] == nil {
			continue
		}
		ast.Inspect(file, func(node ast.Node) bool {
			if flag, ok := flagName(node); ok && flags[flag] {
				wrong.add(fmt.Sprintf("%s: goPool has a flag -%s of its own", p.position(node), flag),
					"a flag defined twice stops goPool at its start", newerInstaller)
			}
			return true
		})
	}
	return wrong
}

// declared are the package-level names of a declaration; methods are none.
func declared(decl ast.Decl) []*ast.Ident {
	switch decl := decl.(type) {
	case *ast.FuncDecl:
		if decl.Recv == nil {
			return []*ast.Ident{decl.Name}
		}
	case *ast.GenDecl:
		var names []*ast.Ident
		for _, spec := range decl.Specs {
			switch spec := spec.(type) {
			case *ast.TypeSpec:
				names = append(names, spec.Name)
			case *ast.ValueSpec:
				names = append(names, spec.Names...)
			}
		}
		return names
	}
	return nil
}

// flagName gives the name that a call like flag.Bool("x", …) or flag.BoolVar(&b, "x", …) defines.
func flagName(node ast.Node) (string, bool) {
	call, ok := node.(*ast.CallExpr)
	if !ok || len(call.Args) < 3 {
		return "", false
	}
	function, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || types.ExprString(function.X) != "flag" {
		return "", false
	}
	for _, arg := range call.Args[:2] {
		if literal, ok := arg.(*ast.BasicLit); ok && literal.Kind == token.STRING {
			name, err := strconv.Unquote(literal.Value)
			return name, err == nil
		}
	}
	return "", false
}
