package observe

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/term"
)

// LogConfig is the section [log].
type LogConfig struct {
	// Level is the least important level that is written: debug, info, warn or error.
	Level string `toml:"level" env:"LEVEL" envDefault:"info"`

	// Format is "json", one object a line for machines, or "console" for the eyes of a person.
	Format string `toml:"format" env:"FORMAT" envDefault:"json"`
}

var (
	levels  = []string{"debug", "info", "warn", "error"}
	formats = []string{"json", "console"}
)

// Validate finds a level or format that there isn't.
func (c LogConfig) Validate() error {
	var faults []error
	if !slices.Contains(levels, c.Level) {
		faults = append(faults, fmt.Errorf("log.level: %q is not one of debug, info, warn, error", c.Level))
	}
	if !slices.Contains(formats, c.Format) {
		faults = append(faults, fmt.Errorf("log.format: %q is not one of json, console", c.Format))
	}
	return errors.Join(faults...)
}

// New makes the logger of a valid LogConfig. Each line carries the time in UTC, RFC 3339 with milliseconds.
func (c LogConfig) New(w io.Writer) zerolog.Logger {
	if c.Format == "console" {
		w = zerolog.ConsoleWriter{Out: w, NoColor: !isTerminal(w), FormatTimestamp: asWritten}
	}
	level, err := zerolog.ParseLevel(c.Level)
	if err != nil {
		level = zerolog.InfoLevel
	}
	return zerolog.New(w).Level(level).Hook(zerolog.HookFunc(stamp))
}

// stamp adds the time. zerolog's own timestamp has its format in a global variable, which isn't one role's to set.
func stamp(e *zerolog.Event, _ zerolog.Level, _ string) {
	e.Str(zerolog.TimestampFieldName, time.Now().UTC().Format("2006-01-02T15:04:05.000Z07:00"))
}

// asWritten keeps the console from printing the time in a shorter form.
func asWritten(time any) string { return fmt.Sprint(time) }

func isTerminal(w io.Writer) bool {
	file, is := w.(*os.File)
	return is && term.IsTerminal(int(file.Fd()))
}
