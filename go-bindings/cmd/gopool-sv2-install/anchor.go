package main

import (
	"fmt"
	"go/ast"
	"go/token"
	"strings"
)

// anchor is the one place in goPool where our call goes: before the statement that accepts Stratum V1
// connections until the pool stops.
//
//	serve := func(...) { … NewMinerConn(…) … }   // the accept loop, a local function
//	go serve("tls", …)                           // not this
//	serve("tcp", …)                              // before this, at the top level of the function
type anchor struct {
	start *ast.FuncDecl // main, run: the function that it is in
	file  string
	loop  *ast.FuncLit  // the accept loop
	call  *ast.CallExpr // its NewMinerConn(…)
	stmt  ast.Stmt      // the statement that runs the loop
}

const anchorShape = "a function with `X := func(…) {…}` whose body calls NewMinerConn once, and one " +
	"statement `X(…)` (without go or defer), both at the top level of the function"

// findAnchor finds the place, or says what is missing or double.
func (p *pool) findAnchor() (*anchor, problems) {
	var wrong problems
	var found []*anchor
	for _, name := range sortedNames(p.built) {
		for _, decl := range p.built[name].Decls {
			function, ok := decl.(*ast.FuncDecl)
			if !ok || function.Body == nil || function.Recv != nil {
				continue
			}
			for loopName, loop := range acceptLoops(function) {
				found = append(found, p.anchorsOf(name, function, loopName, loop, &wrong)...)
			}
		}
	}
	switch {
	case len(found) == 1:
		return found[0], wrong
	case len(found) > 1:
		var places []string
		for _, one := range found {
			places = append(places, p.position(one.stmt))
		}
		wrong.add("the place for our call is there more than once: "+strings.Join(places, ", "),
			"looked for "+anchorShape, newerInstaller)
	case len(wrong) == 0:
		where := "and no call of it is anywhere in package main"
		if calls := p.callsOf("NewMinerConn"); len(calls) > 0 {
			where = "it is called at " + strings.Join(calls, ", ") + ", in another shape"
		}
		wrong.add("goPool's accept loop was not found: "+where, "looked for "+anchorShape,
			"is this goPool's folder (-C DIR), and not another program's? If it is: "+newerInstaller)
	}
	return nil, wrong
}

// acceptLoops are the local functions of a function's top level that call NewMinerConn, by name.
func acceptLoops(function *ast.FuncDecl) map[string]*ast.FuncLit {
	loops := map[string]*ast.FuncLit{}
	for _, stmt := range function.Body.List {
		assign, ok := stmt.(*ast.AssignStmt)
		if !ok || len(assign.Lhs) != 1 || len(assign.Rhs) != 1 {
			continue
		}
		name, isName := assign.Lhs[0].(*ast.Ident)
		loop, isFunction := assign.Rhs[0].(*ast.FuncLit)
		if isName && isFunction && len(callsIn(loop, "NewMinerConn")) > 0 {
			loops[name.Name] = loop
		}
	}
	return loops
}

func (p *pool) anchorsOf(
	file string, function *ast.FuncDecl, name string, loop *ast.FuncLit, wrong *problems,
) []*anchor {
	calls := callsIn(loop, "NewMinerConn")
	if len(calls) != 1 {
		wrong.add(fmt.Sprintf("%s: the accept loop `%s` calls NewMinerConn %d times",
			p.position(loop), name, len(calls)),
			"our factory is derived from that call, so there has to be one", newerInstaller)
		return nil
	}
	var found []*anchor
	for _, stmt := range function.Body.List {
		expression, ok := stmt.(*ast.ExprStmt)
		if !ok {
			continue
		}
		if call, ok := expression.X.(*ast.CallExpr); ok && isCallOf(call, name) {
			found = append(found, &anchor{function, file, loop, calls[0], stmt})
		}
	}
	if len(found) == 0 {
		wrong.add(fmt.Sprintf("%s: nothing at the top level of `%s` runs the accept loop `%s`",
			p.position(function), function.Name.Name, name), "looked for "+anchorShape, newerInstaller)
	}
	return found
}

func isCallOf(call *ast.CallExpr, name string) bool {
	function, ok := call.Fun.(*ast.Ident)
	return ok && function.Name == name
}

func callsIn(node ast.Node, name string) []*ast.CallExpr {
	var calls []*ast.CallExpr
	ast.Inspect(node, func(node ast.Node) bool {
		if call, ok := node.(*ast.CallExpr); ok && isCallOf(call, name) {
			calls = append(calls, call)
		}
		return true
	})
	return calls
}

func (p *pool) callsOf(name string) []string {
	var places []string
	for _, file := range sortedNames(p.built) {
		for _, call := range callsIn(p.built[file], name) {
			places = append(places, p.position(call))
		}
	}
	return places
}

// offset is where our lines begin: the start of the statement's line, or of the comment right above.
func (p *pool) offset(at *anchor) (int, error) {
	file := p.fset.File(at.stmt.Pos())
	line := file.Line(at.stmt.Pos())
	for _, group := range p.built[at.file].Comments {
		if file.Line(group.End()) == line-1 && p.startsLine(file, group.Pos()) {
			line = file.Line(group.Pos())
		}
	}
	if !p.startsLine(file, at.stmt.Pos()) {
		return 0, fmt.Errorf("%s: something stands before the statement on its line",
			p.position(at.stmt))
	}
	return file.Offset(file.LineStart(line)), nil
}

func (p *pool) startsLine(file *token.File, pos token.Pos) bool {
	from := file.Offset(file.LineStart(file.Line(pos)))
	text := p.files[file.Name()][from:file.Offset(pos)]
	return strings.Trim(string(text), " \t") == ""
}
