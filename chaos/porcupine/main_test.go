package main

import (
	"testing"
	"time"
)

func op(id uint64, kind, key string, start, end int64, outcome string, value uint64) *operation {
	op := &operation{ID: id, Client: int(id), Op: kind, Key: key, StartNs: start, EndNs: end, Outcome: outcome}
	if kind == "read" && outcome == "ok" {
		op.Seen = map[string]seen{key: {Value: value}}
	}
	if kind == "cas" {
		op.ExpectedValue = value
	}
	return op
}

func TestVerdicts(t *testing.T) {
	apply := &operation{ID: 1, Client: 1, Op: "apply", Keys: []string{"a", "b"}, StartNs: 0, EndNs: 1, Outcome: "ok"}
	list := func(start, end int64, a, b uint64) *operation {
		return &operation{ID: 99, Client: 99, Op: "list", StartNs: start, EndNs: end, Outcome: "ok", Seen: map[string]seen{"a": {Value: a}, "b": {Value: b}}}
	}
	refused := op(2, "cas", "a", 2, 3, "refused", 1)
	refused.Why = "stale"
	for name, test := range map[string]struct {
		history []*operation
		want    int
	}{
		"in order":                 {[]*operation{apply, op(2, "write", "a", 2, 3, "ok", 0), op(3, "read", "a", 4, 5, "ok", 2)}, 0},
		"a read goes back":         {[]*operation{apply, op(2, "write", "a", 2, 3, "ok", 0), op(3, "read", "a", 4, 5, "ok", 1)}, 1},
		"a list is not atomic":     {[]*operation{apply, {ID: 2, Op: "apply", Keys: []string{"a", "b"}, StartNs: 2, EndNs: 9, Outcome: "ok"}, list(3, 4, 2, 1)}, 1},
		"unknown, seen":            {[]*operation{apply, op(2, "write", "a", 2, 3, "unknown", 0), op(3, "read", "a", 9, 10, "ok", 2)}, 0},
		"unknown, gone again":      {[]*operation{apply, op(2, "write", "a", 2, 3, "unknown", 0), op(3, "read", "a", 4, 5, "ok", 2), op(4, "read", "a", 6, 7, "ok", 1)}, 1},
		"unknown, unseen":          {[]*operation{apply, op(2, "write", "a", 2, 3, "unknown", 0), op(3, "read", "a", 4, 5, "ok", 1)}, 0},
		"refused, but seen":        {[]*operation{apply, op(2, "write", "a", 2, 3, "refused", 0), op(3, "read", "a", 4, 5, "ok", 2)}, 1},
		"two swap from one":        {[]*operation{apply, op(2, "cas", "a", 2, 5, "ok", 1), op(3, "cas", "a", 2, 5, "ok", 1)}, 1},
		"refused without a reason": {[]*operation{apply, refused}, 1},
		"refused for one unseen":   {[]*operation{apply, op(3, "write", "a", 1, 0, "unknown", 0), refused, op(4, "write", "a", 4, 5, "ok", 0)}, 0},
		"the next part":            {[]*operation{apply, list(2, 3, 1, 1), op(2, "read", "a", 4, 5, "ok", 1), op(3, "read", "b", 6, 7, "ok", 9)}, 1},
	} {
		if got := judge(test.history, time.Minute); got != test.want {
			t.Errorf("%s: %d instead of %d", name, got, test.want)
		}
	}
}
