//go:build sv2bridge

package main

//sv2bridge:if func stratumHealthStatus

const sv2bridgeHow = "if"
