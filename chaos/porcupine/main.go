// Judges a history that `hanse-chaos histories` recorded: is it linearizable? The format is in docs/chaos.md.
//
//	porcupine FILE [-timeout 2m]
//
// Exit code 0: linearizable; 1: not; 2: no verdict (time was up, or the file cannot be read).
//
// The model is a small map from keys to values. A value is the number of the operation that wrote it. Revisions are not
// looked at: they are what the other checker judges by.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"sort"
	"time"

	"github.com/anishathalye/porcupine"
)

// Keys that a history may have; the state is an array, so that states can be compared and hashed.
const maxKeys = 16

type state [maxKeys]uint64

type seen struct {
	Value    uint64 `json:"value"`
	Revision uint64 `json:"revision"`
}

type operation struct {
	ID            uint64          `json:"id"`
	Client        int             `json:"client"`
	Node          string          `json:"node"`
	Op            string          `json:"op"`
	Key           string          `json:"key"`
	Keys          []string        `json:"keys"`
	ExpectedValue uint64          `json:"expected_value"`
	StartNs       int64           `json:"start_ns"`
	EndNs         int64           `json:"end_ns"`
	Outcome       string          `json:"outcome"`
	Why           string          `json:"why"`
	Seen          map[string]seen `json:"seen"`
}

// What an operation does to a state, with its keys by place.
type step struct {
	op       *operation
	refused  bool
	keys     []int
	expected uint64
	seen     map[int]uint64
}

func main() {
	timeout := flag.Duration("timeout", 2*time.Minute, "give up on a part of the history after so long")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: porcupine [-timeout 2m] FILE")
		os.Exit(2)
	}
	operations, err := read(flag.Arg(0))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	os.Exit(judge(operations, *timeout))
}

func read(path string) ([]*operation, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var operations []*operation
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		op := new(operation)
		if err := json.Unmarshal(lines.Bytes(), op); err != nil {
			return nil, fmt.Errorf("%s: operation %d: %w", path, len(operations)+1, err)
		}
		operations = append(operations, op)
	}
	return operations, lines.Err()
}

func judge(operations []*operation, timeout time.Duration) int {
	steps, keys, err := prepare(operations)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	parts := cut(steps)
	longest := time.Duration(0)
	var start state
	for number, part := range parts {
		began := time.Now()
		result := porcupine.CheckOperationsTimeout(model(start), part, timeout)
		if took := time.Since(began); took > longest {
			longest = took
		}
		span := fmt.Sprintf("part %d of %d, %d operations from %.3f s", number+1, len(parts), len(part), float64(part[0].Call)/1e9)
		switch result {
		case porcupine.Illegal:
			fmt.Printf("porcupine: not linearizable: %s\n", span)
			return 1
		case porcupine.Unknown:
			fmt.Printf("porcupine: no verdict within %s: %s\n", timeout, span)
			return 2
		}
		last := part[len(part)-1].Input.(step)
		for key, value := range last.seen {
			start[key] = value
		}
	}
	fmt.Printf("porcupine: linearizable: %d operations on %d keys in %d parts, the slowest took %s\n", len(steps), keys, len(parts), longest.Round(time.Millisecond))
	return 0
}

// Leaves out what says nothing, and gives operations of unknown outcome their latest possible end. A write whose value
// nobody saw need not have happened; a swap that was refused may have been refused because of it, so it says nothing. A
// write whose value was seen happened before the first that saw it ended.
func prepare(operations []*operation) ([]porcupine.Operation, int, error) {
	firstSeen := map[uint64]int64{}
	for _, op := range operations {
		// What a node showed was committed, also where the read was stale.
		if op.Outcome != "ok" {
			continue
		}
		for _, seen := range op.Seen {
			if end, there := firstSeen[seen.Value]; !there || op.EndNs < end {
				firstSeen[seen.Value] = op.EndNs
			}
		}
	}
	unseenFrom := map[string]int64{}
	for _, op := range operations {
		if _, there := firstSeen[op.ID]; there || op.Outcome != "unknown" {
			continue
		}
		for _, name := range names(op) {
			if from, there := unseenFrom[name]; !there || op.StartNs < from {
				unseenFrom[name] = op.StartNs
			}
		}
	}
	places := map[string]int{}
	place := func(key string) (int, error) {
		if _, there := places[key]; !there {
			if len(places) == maxKeys {
				return 0, fmt.Errorf("the history has more than %d keys", maxKeys)
			}
			places[key] = len(places)
		}
		return places[key], nil
	}
	var steps []porcupine.Operation
	for _, op := range operations {
		if stale(op) {
			continue
		}
		end, refused := op.EndNs, false
		switch op.Outcome {
		case "ok":
		case "refused":
			// The one refusal that tells something: the key was not at the version expected.
			if op.Op != "cas" || op.Why != "stale" {
				continue
			}
			if from, there := unseenFrom[op.Key]; there && from < op.EndNs {
				continue
			}
			refused = true
		default:
			seenAt, there := firstSeen[op.ID]
			if len(op.Seen) > 0 || !there {
				continue
			}
			end = seenAt
			if end < op.StartNs {
				end = op.StartNs // seen before it began: no order will explain it
			}
		}
		step := step{op: op, refused: refused, expected: op.ExpectedValue, seen: map[int]uint64{}}
		for _, name := range names(op) {
			key, err := place(name)
			if err != nil {
				return nil, 0, err
			}
			step.keys = append(step.keys, key)
		}
		for name, seen := range op.Seen {
			key, err := place(name)
			if err != nil {
				return nil, 0, err
			}
			step.seen[key] = seen.Value
		}
		steps = append(steps, porcupine.Operation{ClientId: op.Client, Input: step, Call: op.StartNs, Output: nil, Return: end})
	}
	sort.SliceStable(steps, func(a, b int) bool { return steps[a].Call < steps[b].Call })
	return steps, len(places), nil
}

// Cuts the history after each list that overlaps no other operation: what it saw is the state that the next part starts
// from. The search is exponential in the worst case, so short parts matter.
func cut(steps []porcupine.Operation) [][]porcupine.Operation {
	var parts [][]porcupine.Operation
	first, latest := 0, int64(math.MinInt64)
	for index, step := range steps {
		alone := step.Call > latest && (index+1 == len(steps) || steps[index+1].Call > step.Return)
		if step.Return > latest {
			latest = step.Return
		}
		if alone && kind(step) == "list" {
			parts = append(parts, steps[first:index+1])
			first = index + 1
		}
	}
	if first < len(steps) {
		parts = append(parts, steps[first:])
	}
	return parts
}

func kind(op porcupine.Operation) string { return op.Input.(step).op.Op }

func names(op *operation) []string {
	if op.Key != "" {
		return []string{op.Key}
	}
	return op.Keys
}

func stale(op *operation) bool { return op.Op == "stale_read" || op.Op == "stale_list" }

func model(start state) porcupine.Model {
	return porcupine.Model{
		Init: func() interface{} { return start },
		Step: func(before, input, _ interface{}) (bool, interface{}) {
			return input.(step).apply(before.(state))
		},
	}
}

func (step step) apply(now state) (bool, state) {
	switch step.op.Op {
	case "read", "list":
		for key, value := range step.seen {
			if now[key] != value {
				return false, now
			}
		}
	case "cas":
		expected := now[step.keys[0]] == step.expected
		if expected == step.refused {
			return false, now
		}
		if !step.refused {
			now[step.keys[0]] = step.op.ID
		}
	case "write", "apply":
		for _, key := range step.keys {
			now[key] = step.op.ID
		}
	default:
		return false, now
	}
	return true, now
}
