module github.com/gopool-sv2/gopool-sv2/tests/interop

go 1.26.0
