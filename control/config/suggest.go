package config

import (
	"slices"
	"strings"
)

// mostCompared bounds the names that one which is not known is compared with.
const mostCompared = 200

// didYouMean returns a question to end a message with when one of known is
// close to text, else nothing.
func didYouMean(text string, known []string) string {
	if guess := closest(text, known); guess != "" {
		return "; did you mean " + guess + "?"
	}
	return ""
}

// closest returns the one of known that text was probably meant to be, or
// nothing.
func closest(text string, known []string) string {
	best, least := "", 3
	for _, candidate := range known {
		distance := editDistance(strings.ToLower(text), candidate)
		if distance < least && distance*2 < len(candidate) {
			best, least = candidate, distance
		}
	}
	return best
}

// editDistance counts the characters to insert, delete, replace or swap with
// their neighbour to turn a into b. Texts that are far longer than any key are
// far from all of them.
func editDistance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	var before, last []int
	next := make([]int, len(b)+1)
	for j := range next {
		next[j] = j
	}
	for i := range a {
		before, last = last, next
		next = make([]int, len(b)+1)
		next[0] = i + 1
		for j := range b {
			same := 1
			if a[i] == b[j] {
				same = 0
			}
			next[j+1] = slices.Min([]int{last[j] + same, last[j+1] + 1, next[j] + 1})
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				next[j+1] = min(next[j+1], before[j-1]+1)
			}
		}
	}
	return next[len(b)]
}
