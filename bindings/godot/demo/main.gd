extends Node3D
## A wall that is made in the background, and anew for each click; the lamp goes round meanwhile.

@onready var generator: FlowTurboGenerator = $Generator
@onready var lamp: OmniLight3D = $Lamp
@onready var label: Label = $Label


func _ready() -> void:
	generator.progress.connect(_on_progress)
	generator.finished.connect(_on_finished)
	generator.failed.connect(_on_failed)
	generator.generate()


func _process(_delta: float) -> void:
	var angle := Time.get_ticks_msec() / 1000.0
	lamp.position = Vector3(cos(angle), sin(angle), 1.0)


func _unhandled_input(event: InputEvent) -> void:
	if event is InputEventMouseButton and event.is_pressed():
		generator.texture.seed += 1
		generator.generate()


func _on_progress(step: int, steps: int) -> void:
	label.text = "%d of %d" % [step, steps]


func _on_finished(image: Image) -> void:
	label.text = "%d x %d pixels. Click for another wall." % [image.get_width(), image.get_height()]


func _on_failed(message: String) -> void:
	label.text = message
