//go:build race

package proxy

// earlyAnswers are few where the race detector makes each expensive: make test has all of them without it.
const earlyAnswers = 20
