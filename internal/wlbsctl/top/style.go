// SPDX-License-Identifier: Apache-2.0

package top

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Style is the meaning of a piece of text; how it looks is decided when it is written.
type Style int

// The styles. Owner(id) gives those of hosts.
const (
	Plain Style = iota
	Bold
	Dim
	Good
	Warn
	Bad
	ownerBase
)

// Owner is the style of what belongs to the host with an ID, 1 to 32.
func Owner(id int32) Style { return ownerBase + Style(id) }

// Span is a piece of text in one style.
type Span struct {
	Text  string
	Style Style
}

// Line is one line of the screen.
type Line []Span

// Palette says how styles are written.
type Palette int

// The palettes.
const (
	// Monochrome writes text only.
	Monochrome Palette = iota
	// Emphasis writes bold and dim text without colours, for NO_COLOR (https://no-color.org).
	Emphasis
	// Colours writes the 16 colours that every terminal has; which ones they are is the terminal's choice.
	Colours
)

// ownerCodes are backgrounds with a text colour that stays readable on them. There are more hosts than colours: each
// cell also holds its owner's ID.
var ownerCodes = [...]string{"30;42", "30;46", "30;43", "37;44", "37;45", "30;47", "30;102", "30;106", "30;103",
	"30;104", "30;105", "30;107"}

func (p Palette) code(s Style) string {
	switch {
	case p == Monochrome || s == Plain:
		return ""
	case s == Bold:
		return "1"
	case s == Dim:
		return "2"
	case s == Bad && p == Emphasis:
		return "1"
	case p == Emphasis:
		return ""
	case s == Good:
		return "32"
	case s == Warn:
		return "33"
	case s == Bad:
		return "1;31"
	}
	return ownerCodes[(int(s-ownerBase)-1)%len(ownerCodes)]
}

// Encode writes a line with the escape sequences of a palette.
func (p Palette) Encode(l Line) string {
	var b strings.Builder
	for _, span := range l {
		if code := p.code(span.Style); code != "" {
			fmt.Fprintf(&b, "\x1b[%sm%s\x1b[0m", code, span.Text)
		} else {
			b.WriteString(span.Text)
		}
	}
	return b.String()
}

func (l Line) width() int {
	n := 0
	for _, span := range l {
		n += utf8.RuneCountInString(span.Text)
	}
	return n
}

// clip cuts a line to a width; 0 means any. Cut text ends in an ellipsis.
func (l Line) clip(width int) Line {
	if width <= 0 || l.width() <= width {
		return l
	}
	var out Line
	left := width
	for _, span := range l {
		n := utf8.RuneCountInString(span.Text)
		if n < left {
			out = append(out, span)
			left -= n
			continue
		}
		return append(out, Span{shorten(span.Text+" ", left), span.Style})
	}
	return out
}

// shorten cuts text to a width and ends it in an ellipsis if something is missing.
func shorten(text string, width int) string {
	runes := []rune(text)
	if len(runes) <= width {
		return text
	}
	if width < 1 {
		return ""
	}
	return string(runes[:width-1]) + "…"
}

func text(format string, args ...any) Line { return Line{{Text: fmt.Sprintf(format, args...)}} }

func styled(s Style, format string, args ...any) Span {
	return Span{fmt.Sprintf(format, args...), s}
}

// wrap breaks text between words into lines of a width, at most a number of them; 0 means any width.
func wrap(text string, width, lines int) []string {
	var out []string
	for width > 0 && len(out) < lines-1 && utf8.RuneCountInString(text) > width {
		head := string([]rune(text)[:width+1])
		at := strings.LastIndexByte(head, ' ')
		if at <= 0 {
			break
		}
		out = append(out, text[:at])
		text = text[at+1:]
	}
	return append(out, text)
}
