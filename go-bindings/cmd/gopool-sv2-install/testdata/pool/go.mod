module goPool

go 1.26.0
